#!/usr/bin/env bash
# What the recipes of language models share: music to codes, training, a first piece of music.
#   bash recipes/pretrain_lm.sh EXPERIMENT DATASET [key=value …]
# DATASET: a folder that data_prep.prepare wrote. The keys are train.py's. A training that was
# interrupted goes on: run it again at any time. Environment, with what is taken without it:
#   CODEC     encodec_32khz                   the tokenizer: a folder, or a name of the hub
#   NAME      EXPERIMENT                      the run is runs/NAME
#   LAUNCH    python                          e.g. "torchrun --nnodes 2 …", see recipes/torchrun.sh
#   TOKENIZE  device=cuda num_workers=4       keys of data_prep.tokenize
#   GENERATE  --duration 30                   options of musicgen_train.generate, e.g. --melody FILE
set -euo pipefail
cd "$(dirname "$0")/.."
usage="usage: bash recipes/pretrain_lm.sh EXPERIMENT DATASET [key=value …]"
experiment=${1:?$usage}
dataset=${2:?$usage}
shift 2
name=${NAME:-$experiment}
codec=${CODEC:-encodec_32khz}
codes=$dataset.codes

if [ ! -e "$codes/dataset.json" ]; then
  python -m data_prep.tokenize dataset="$dataset" output_dir="$codes" codec_path="$codec" \
    ${TOKENIZE:-device=cuda num_workers=4}
fi
${LAUNCH:-python} train.py experiment="$experiment" name="$name" data.path="$codes" \
  codec_path="$codec" resume=auto "$@"
python -m musicgen_train.generate --checkpoint "runs/$name/model" --output "runs/$name/music" \
  --text "upbeat acoustic folk with guitar and hand claps" ${GENERATE:---duration 30}
