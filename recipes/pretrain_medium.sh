#!/usr/bin/env bash
# From prepared music to music from text: MusicGen medium, 1.84 B parameters, fully sharded (FSDP2).
#   bash recipes/pretrain_medium.sh DATASET [key=value …]
# DATASET: as of pretrain_small.sh.
# Hardware: 8 GPUs of 80 GB, 4.6 GB of it for the sharded weights and optimizer. GPUs of 24 GB:
#   data.batch_size=2 trainer.accumulate_grad_batches=12 task.recompute=true. Several nodes:
#   recipes/torchrun.sh or recipes/slurm.sh; keep GPUs x batch_size x accumulated batches at 192.
# Time: 1 M steps are 2212 H100 hours, 11.5 days, at 40 % of its peak (calculated: python -m
#   benchmarks.recipe_costs; no such run was made here).
# Expected on MusicCaps (published for the released weights): FAD 5.14, KL 1.38, CLAP 0.28.
set -euo pipefail
exec bash "$(dirname "$0")/pretrain_lm.sh" pretrain_medium "$@"
