#!/usr/bin/env bash
# Fine-tune the tiny base that ships on twenty songs of a style that it has never heard, with the
# very command that one would use for songs of one's own. `make demo` calls this.
# Hardware: 2 CPU cores, 6 GB of memory, 1 GB of disk. Time: about 5 minutes. No download.
# What is done is not done again, and what was interrupted goes on: run it again at any time.
set -euo pipefail
cd "$(dirname "$0")/.."

echo "Composing 20 pieces of chiptune: runs/demo_songs"
python -m data_prep.demo output_dir=runs/demo_songs n_tracks=20 seed=0 "styles=[chiptune]" \
  "track_duration=[18,24]"
python recipes/finetune.py input_dir=runs/demo_songs name=demo base=tiny trigger="chip tune"
