#!/usr/bin/env bash
# From nothing to musicgen_train/assets/codec_tiny: the 16 kHz codec that ships.
# Hardware: 2 CPU cores (training uses one). Time: about 75 minutes. Disk: 3 GB.
set -euo pipefail
cd "$(dirname "$0")/.."
work=${1:-runs/codec_tiny_data}

# Seed 1000: the demo's own corpus (seed 0) stays unseen.
python -m data_prep.demo output_dir="$work/corpus" n_tracks=400 seed=1000
python -m data_prep.prepare input_dir="$work/corpus" output_dir="$work/shards" \
  sample_rate=16000 segment_duration=8 separator=stems chroma_window=8192
# It was trained without a discriminator and without averaged weights.
python train.py experiment=codec_tiny data.path="$work/shards" num_threads=1 \
  task.adversary=null task.ema_decay=null
echo "To ship it: cp runs/codec_tiny/model/* musicgen_train/assets/codec_tiny/"
