#!/usr/bin/env bash
# From nothing to musicgen_train/assets/tiny, the model that ships: compose a corpus, prepare it,
# train the shipped codec further against a discriminator, tokenise, train a language model from
# nothing, export it, measure it.
# Hardware: 2 CPU cores, 8 GB of memory, 45 GB of disk. Time: two and a half hours. No download.
# In a quarter of an hour, to see the chain at work (the music is accordingly):
#   N_TRACKS=160 CODEC_STEPS=100 LM_STEPS=400 bash recipes/tiny.sh
# A finished stage is not done again, and an interrupted training goes on: run it again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
run=runs/tiny
n_stages=9
stage=0
n_tracks=${N_TRACKS:-4800}
codec_tracks=$((n_tracks < 400 ? n_tracks : 400))
codec_steps=${CODEC_STEPS:-3000}
lm_steps=${LM_STEPS:-6000}

mkdir -p "$run"

# stage TITLE RESULT COMMAND…: run the command unless its result is there already.
stage() {
  stage=$((stage + 1))
  local title=$1 result=$2
  shift 2
  if [ -e "$result" ]; then
    echo "[$stage/$n_stages] $title: done already ($result)"
    return
  fi
  echo "[$stage/$n_stages] $title"
  local began=$SECONDS
  "$@"
  echo "      $((SECONDS - began)) s"
  printf '%s\t%s\n' "$((SECONDS - began))" "$title" >>"$run/timings.tsv"
}

# compose N: so many pieces in all; those that are there stay.
compose() {
  python -m data_prep.demo output_dir="$run/corpus" n_tracks="$1" seed=3000
  touch "$run/corpus.$1"
}

# Whole pieces, of which training takes crops anew in each epoch.
prepare() {
  python -m data_prep.prepare input_dir="$run/corpus" output_dir="$1" work_dir="$run/work" \
    sample_rate=16000 segment_duration=30 separator=stems chroma_window=8192 duplicates=none
}

stage "Composing $codec_tracks pieces of music" "$run/corpus.$codec_tracks" compose "$codec_tracks"
stage "Cutting them into vocal-free segments with melody chroma" \
  "$run/codec_shards/dataset.json" prepare "$run/codec_shards"
stage "Training the shipped codec further, against a discriminator" \
  "$run/codec/model/config.json" \
  python train.py experiment=codec_tiny_adversarial resume=auto max_steps="$codec_steps" \
  data.path="$run/codec_shards" num_threads=1
stage "Rounding it to half precision" "$run/codec_half/config.json" \
  python -m musicgen_train.export "$run/codec/model" "$run/codec_half" --format native --codec-dtype float16
stage "Composing $n_tracks pieces in all" "$run/corpus.$n_tracks" compose "$n_tracks"
stage "Cutting them as well" "$run/shards/dataset.json" prepare "$run/shards"
stage "Turning the music into codes" "$run/codes/dataset.json" \
  python -m data_prep.tokenize dataset="$run/shards" output_dir="$run/codes" \
  codec_path="$run/codec_half" num_workers=2
stage "Training a language model on the codes, from nothing" "$run/lm/model/config.json" \
  python train.py experiment=lm_tiny resume=auto max_steps="$lm_steps" \
  schedule.warmup_steps=$((lm_steps / 30)) schedule.decay_steps=$((lm_steps * 23 / 120))
stage "Generating, measuring, writing the report" "$run/evaluation/report/index.html" \
  python evaluate.py protocol=judge ckpt="$run/lm/model" dataset="$run/shards" n_clips=96 \
  output_dir="$run/evaluation" "title=The tiny base" timings="$run/timings.tsv" \
  "+curves={Codec: $run/codec, Language model: $run/lm}"

echo
echo "Report:     $run/evaluation/report/index.html"
echo "To ship it: python -m musicgen_train.export $run/lm/model musicgen_train/assets/tiny --dtype float16 --licence mit"
