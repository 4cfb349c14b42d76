#!/usr/bin/env bash
# From prepared music to music from text: MusicGen small, 420 M parameters.
#   bash recipes/pretrain_small.sh DATASET [key=value …]
# DATASET: of `python -m data_prep.prepare input_dir=songs output_dir=DATASET separator=demucs`, with
#   descriptions; the released model saw 20 000 hours. First codes, with the released tokenizer, then
#   training, then a piece of music; pretrain_lm.sh says how to change each.
# Hardware: 8 GPUs of 80 GB, 8.4 GB of it for weights and optimizer. One GPU of 24 GB:
#   trainer=gpu data.batch_size=6 trainer.accumulate_grad_batches=32 task.recompute=true
# Time: 1 M steps of 192 x 30 s are 529 H100 hours, 2.8 days, at 40 % of its peak (calculated:
#   python -m benchmarks.recipe_costs; no such run was made here). max_steps=100000 is a first result.
# Expected on MusicCaps (published for the released weights): FAD 4.88, KL 1.42, CLAP 0.27;
#   recipes/evaluate_musiccaps.sh measures them.
set -euo pipefail
exec bash "$(dirname "$0")/pretrain_lm.sh" pretrain_small "$@"
