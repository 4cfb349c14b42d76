#!/usr/bin/env bash
# From nothing to music: compose a corpus, prepare it, train a codec a little further, tokenise,
# train a language model from nothing, generate, evaluate, report. `make demo` calls this.
# Hardware: 2 CPU cores, 6 GB of memory, 2 GB of disk. Time: about 14 minutes. No download.
# A finished stage is not done again, and an interrupted training goes on: run it again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."
run=runs/demo
n_stages=6
stage=0

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

# train NAME [OVERRIDE…]: go on from the last checkpoint of an interrupted run, if it left one.
train() {
  local name=$1
  shift
  python train.py experiment="${name}_demo" resume=auto "$@"
}

compose() {
  python -m data_prep.demo output_dir="$run/corpus" n_tracks=160 seed=0
  touch "$run/corpus.done"
}

stage "Composing 160 pieces of music" "$run/corpus.done" compose
stage "Cutting them into vocal-free segments with melody chroma" "$run/shards/dataset.json" \
  python -m data_prep.prepare input_dir="$run/corpus" output_dir="$run/shards" \
  sample_rate=16000 segment_duration=8 separator=stems chroma_window=8192
stage "Training the shipped codec further on them" "$run/codec/model/config.json" \
  train codec data.path="$run/shards"
stage "Turning the music into codes" "$run/codes/dataset.json" \
  python -m data_prep.tokenize dataset="$run/shards" output_dir="$run/codes" \
  codec_path="$run/codec/model"
stage "Training a language model on the codes, from nothing" "$run/lm/model/config.json" \
  train lm
more="python -m musicgen_train.generate --checkpoint $run/lm/model --text 'a cheerful folk tune with a flute' --output $run/more"
stage "Generating, measuring, writing the report" "$run/report/index.html" \
  python evaluate.py protocol=judge ckpt="$run/lm/model" dataset="$run/shards" output_dir="$run" \
  "title=The demo: from nothing to music" timings="$run/timings.tsv" "hint=\"$more\"" "+curves={Codec: $run/codec, Language model: $run/lm}"

echo
echo "Report:        $run/report/index.html (open it in a browser)"
echo "Generate more: PATH=$(dirname "$(command -v python)"):\$PATH $more"
