#!/usr/bin/env bash
# Stereo from mono: MusicGen small's weights, twice the codebooks, trained on with stereo music.
#   bash recipes/stereo_from_mono.sh DATASET [key=value …]
# DATASET: stereo, of `python -m data_prep.prepare … channels=2 separator=demucs`. init_from=FOLDER
#   starts from another mono model than the released one. At its first step the model predicts for
#   two equal channels what the mono one does.
# Hardware: 8 GPUs of 80 GB, 8.7 GB of it for weights and optimizer; see pretrain_small.sh for less.
# Time: 200 000 steps are 108 H100 hours, 0.6 days, at 40 % of its peak (calculated: python -m
#   benchmarks.recipe_costs; no such run was made here).
# Expected: valid/ce below the mono model's from the first thousands of steps on; no scores of the
#   released stereo models are published.
set -euo pipefail
export CODEC=${CODEC:-stereo-small}
exec bash "$(dirname "$0")/pretrain_lm.sh" stereo_small "$@"
