#!/usr/bin/env bash
# The evaluation of MusicGen's model cards: generate 10 s for every caption of MusicCaps
# and measure against MusicCaps' own audio, as audiocraft does and as we would publish.
#
#   bash recipes/evaluate_musiccaps.sh CSV AUDIO_DIR CHECKPOINT [OUT [OVERRIDE…]]
#   subset=eval bash recipes/evaluate_musiccaps.sh musiccaps-public.csv audio small runs/eval \
#     sampling.batch_size=64 devices=-1
#
# CSV         musiccaps-public.csv; see recipes/musiccaps_table.py
# AUDIO_DIR   its audio, cut-outs of 10 s or whole tracks; see recipes/musiccaps.py for their names
# CHECKPOINT  what evaluate.py takes as ckpt: a folder, or small, medium, melody, large
# OUT         runs/musiccaps: reference/ (clips, texts.json, manifest.json), and a folder a protocol
# OVERRIDE    of conf/evaluate.yaml, for every protocol
# subset      all (5,521 rows; the published figures have the 5,469 whose audio there was), balanced
#             (1,000) or eval (2,858): figures of different subsets do not compare
# protocols   "musicgen_compat default"; protocols=judge needs no weights but those of the model
#
# Hardware: a GPU that holds the model. Disk: about 12 GB (calculated), of which each protocol's
# clips are 3. Downloads VGGish, PaSST and CLAP unless weights.* name them.
# Time: cutting the clips about 4 minutes on 2 CPU cores. That of the rest is not known, for it was
# not run on MusicCaps: neither its audio nor the weights were at hand. A test runs it in miniature.
#
# Expected of musicgen_compat with subset=all, by the model cards (nothing of it was measured here):
#            FAD[VGGish]   KL (PaSST)   CLAP
#   small       4.88          1.42      0.27
#   medium      5.14          1.38      0.28
#   large       5.48          1.37      0.28
# (melody has 4.93, 1.41 and 0.27 with the melodies of the references, which this recipe does not give.)
# We call it the same if small has FAD 4.9 ± 0.2, KL 1.42 ± 0.03 and CLAP 0.27 ± 0.01. Your audio is
# part of the result: see in manifest.json which clips lack, and which are short.
#
# Each protocol generates its own clips, of the same seeds: musicgen_compat brings them to -14 LUFS
# and cuts them at full scale, which KL and CLAP hear, and default leaves them as the model made
# them. To measure the first's clips by the second's rules all the same: python evaluate.py
# generated=OUT/musicgen_compat/audio/generated reference=OUT/reference/clips
# texts=OUT/reference/texts.json output_dir=…
#
# Run it again at any time: clips that are there are neither cut, generated nor heard again.
set -euo pipefail
if [ $# -lt 3 ]; then
  echo "error: bash recipes/evaluate_musiccaps.sh CSV AUDIO_DIR CHECKPOINT [OUT [OVERRIDE…]]" >&2
  exit 2
fi
root=$(cd "$(dirname "$0")/.." && pwd)
csv=$1 audio=$2 checkpoint=$3 out=${4:-runs/musiccaps}
shift $(($# < 4 ? $# : 4))
export PYTHONPATH="$root${PYTHONPATH:+:$PYTHONPATH}"

python -m recipes.musiccaps "$csv" "$audio" "$out/reference" --subset "${subset:-all}"
for protocol in ${protocols:-musicgen_compat default}; do
  echo "Evaluating by protocol=$protocol"
  python "$root/evaluate.py" ckpt="'$checkpoint'" texts="'$out/reference/texts.json'" \
    reference="'$out/reference/clips'" output_dir="'$out/$protocol'" protocol="$protocol" \
    duration=10 title="'MusicCaps: $checkpoint'" "$@"
done
