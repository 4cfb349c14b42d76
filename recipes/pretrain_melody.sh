#!/usr/bin/env bash
# From prepared music to music from text and a melody: MusicGen melody, 1.39 B parameters, FSDP2.
#   bash recipes/pretrain_melody.sh DATASET [key=value …]
# DATASET: as of pretrain_small.sh; separator=demucs also gives the melody without drums and bass.
#   GENERATE="--duration 30 --melody FILE" lets the first piece follow a melody.
# Hardware: 8 GPUs of 80 GB, 3.5 GB of it for the sharded weights and optimizer; see
#   pretrain_medium.sh for less.
# Time: 1 M steps are 2305 H100 hours, 12 days, at 40 % of its peak (calculated: python -m
#   benchmarks.recipe_costs; no such run was made here).
# Expected on MusicCaps (published): FAD 4.93, KL 1.41, CLAP 0.27, chroma cosine 0.44.
set -euo pipefail
exec bash "$(dirname "$0")/pretrain_lm.sh" pretrain_melody "$@"
