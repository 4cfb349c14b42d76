#!/usr/bin/env bash
# From prepared music to a tokenizer: MusicGen's 32 kHz EnCodec, 59 M parameters, 2.2 kbit/s.
#   bash recipes/pretrain_codec.sh DATASET [key=value …]
# DATASET: of `python -m data_prep.prepare input_dir=songs output_dir=DATASET`, mono, 32 kHz.
# Trains, then measures the round trip on the test split. LAUNCH and NAME are as of pretrain_lm.sh;
#   EVALUATE: keys of evaluate.py, e.g. n_clips=500.
# Hardware: one GPU of 24 GB (64 crops of 1 s); trainer=ddp data.batch_size=8 divides them among 8.
#   Without a GPU: trainer=cpu data.batch_size=4 takes 5 GB, and 17 s a step on one core.
# Time: 400 000 steps; not measured on a GPU here. The run says how long before it starts.
# Expected: every codebook in use (valid/usage near 1) and valid/si_sdr rising throughout; the tiny
#   16 kHz codec reaches 2.7 dB at 5 000 steps (docs/codec.md). Nothing is published for this one.
set -euo pipefail
cd "$(dirname "$0")/.."
dataset=${1:?usage: bash recipes/pretrain_codec.sh DATASET [key=value …]}
shift
name=${NAME:-codec_32khz}

${LAUNCH:-python} train.py experiment=codec_32khz name="$name" data.path="$dataset" resume=auto "$@"
python evaluate.py ckpt="runs/$name/model" dataset="$dataset" output_dir="runs/$name/evaluation" \
  protocol=judge ${EVALUATE:-}
