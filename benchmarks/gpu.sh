#!/usr/bin/env bash
# What only a GPU can tell, in one command: its tests, trainings with their loss curves, benchmarks.
#   bash benchmarks/gpu.sh                one H100 or H200, under 10 minutes, no network
#   bash benchmarks/gpu.sh --dry-run      the same in the smallest sizes on a CPU: shows that it runs
# Each part is bounded in time and writes as it goes; one that fails does not keep the next from
# running. The exit status is 0 if all parts passed, 1 if not, 2 if there is nothing to run on.
# Environment, with what is taken without it:
#   OUT     benchmarks/results/gpu    everything that is written, in the place of the last run's
#   PYTHON  python                    3.11 or later, with the project's dependencies
#   BUDGET  570                       seconds for everything
# Afterwards: copy $OUT/benchmarks/*.json to benchmarks/results and run python -m benchmarks --table.
set -uo pipefail
cd "$(dirname "$0")/.."
root=$PWD
python=${PYTHON:-python}
out=${OUT:-benchmarks/results/gpu}
budget=${BUDGET:-570}
mode=--full
case "${1:-}" in
  "") ;;
  --dry-run) mode=--dry-run ;;
  *)
    echo "usage: bash benchmarks/gpu.sh [--dry-run]" >&2
    exit 2
    ;;
esac

die() {
  echo "error: $1" >&2
  exit 2
}

command -v "$python" >/dev/null || die "no $python: name one, PYTHON=/path/to/python"
for package in torch lightning transformers hydra webdataset soundfile pytest pretty_midi; do
  found=$("$python" -c "import importlib.util as u; print(u.find_spec('$package') is not None)")
  [ "$found" = True ] || die "$package is missing: $python -m pip install -e '.[dev]'"
done
gpus=$("$python" -c "import torch; print(torch.cuda.device_count())")
if [ "$mode" = --dry-run ]; then
  export MUSICGEN_DEVICE=cpu CUDA_VISIBLE_DEVICES=
elif [ "$gpus" = 0 ]; then
  die "torch sees no GPU: try nvidia-smi, or check this script with --dry-run"
fi

export PYTHONPATH=$root HF_HUB_OFFLINE=1 TRANSFORMERS_OFFLINE=1 WANDB_MODE=disabled
mkdir -p "$out"
out=$(cd "$out" && pwd) || exit 2
work=$out/work
rm -rf "$work" "$out/curves" "$out/summary.txt"
status=0

say() { echo "$*" | tee -a "$out/summary.txt"; }

# part TITLE SECONDS COMMAND…: at most so many seconds, and never more than the budget has left.
part() {
  local title=$1 most=$2 began=$SECONDS left=$((budget - SECONDS)) code=0
  shift 2
  # A dry run may be on a slow machine, and its times mean nothing.
  [ "$most" -gt "$left" ] || [ "$mode" = --dry-run ] && most=$left
  if [ "$most" -lt 5 ]; then
    say "$title: not run, no time left of $budget s"
    status=1
    return
  fi
  echo "== $title (at most $most s)"
  timeout -k 10 "$most" "$@" >"$out/$title.txt" 2>&1 || code=$?
  local result="passed"
  [ "$code" -ne 0 ] && result="failed with status $code" && status=1
  [ "$code" -eq 124 ] && result="stopped after $most s"
  tail -n 3 "$out/$title.txt"
  say "$title: $result, $((SECONDS - began)) s; $out/$title.txt"
}

# music: pieces composed here, as codes of the codec that ships.
music() {
  local tracks=64 device=cuda
  [ "$mode" = --dry-run ] && tracks=8 device=cpu
  cd "$work" || return
  "$python" -m data_prep.demo output_dir=corpus n_tracks=$tracks seed=11 \
    n_workers="$(nproc)" "track_duration=[16,24]" || return
  "$python" -m data_prep.prepare input_dir=corpus output_dir=shards sample_rate=16000 \
    segment_duration=8 separator=stems chroma_window=8192 duplicates=none \
    num_workers="$(nproc)" || return
  "$python" -m data_prep.tokenize dataset=shards output_dir=codes codec_path=codec_tiny \
    device=$device
}

# training NAME [key=value …]: runs/NAME in the work folder.
training() {
  local name=$1
  shift
  [ -e "$work/codes/dataset.json" ] || { echo "there is no music to train on" && return 1; }
  local sizes=(trainer=gpu data.num_workers=4)
  [ "$mode" = --dry-run ] && sizes=(
    trainer=cpu max_steps=4 data.batch_size=2 num_threads=1 trainer.val_check_interval=2
    schedule.warmup_steps=1 trainer.limit_val_batches=1 trainer.log_every_n_steps=1
  )
  cd "$work" || return
  "$python" "$root/train.py" "name=$name" data.path=codes codec_path=codec_tiny \
    callbacks.samples=null trainer.limit_val_batches=4 trainer.log_every_n_steps=5 \
    trainer.val_check_interval=50 "$@" "${sizes[@]}"
}
tiny() {
  local decay=100
  [ "$mode" = --dry-run ] && decay=2
  training tiny experiment=lm_tiny max_steps=400 schedule.warmup_steps=40 \
    schedule.decay_steps=$decay
}
small() {
  local shape=(model=small)
  [ "$mode" = --dry-run ] && shape=(model=tiny)
  training small experiment=lm_demo "${shape[@]}" max_steps=150 data.batch_size=16 \
    optim.lr=3e-4 schedule.warmup_steps=20
}
curves() {
  local runs=()
  for name in tiny small; do
    [ -d "$work/runs/$name/logs" ] && runs+=("$work/runs/$name")
  done
  [ ${#runs[@]} -gt 0 ] || { echo "no training left a log" && return 1; }
  "$python" -m benchmarks.loss_curves "${runs[@]}" --output "$out/curves"
}
# timeout starts programs, so a function is called by a shell of its own.
in_shell() { declare -p root python out work mode 2>/dev/null; declare -f; echo "$1"; }

mkdir -p "$work"
{
  date -u +%FT%TZ
  git rev-parse HEAD 2>/dev/null
  nvidia-smi 2>/dev/null
  "$python" -c "import sys, torch; print(sys.version, torch.__version__, torch.version.cuda)"
} >"$out/facts.txt" 2>&1

tests=(tests)
[ "$mode" = --dry-run ] && tests=(tests/gpu/test_goldens.py tests/gpu/test_peer_parity.py)
part tests 150 "$python" -m pytest -q -m gpu -p no:cacheprovider "${tests[@]}"
part music 60 bash -c "$(in_shell music)"
part training_tiny 60 bash -c "$(in_shell tiny)"
part training_small 60 bash -c "$(in_shell small)"
part curves 30 bash -c "$(in_shell curves)"
most=150
[ "$mode" = --dry-run ] && most=$budget
part benchmarks "$budget" "$python" -m benchmarks $mode --limit "$most" --output "$out/benchmarks"
rm -rf "$work"
say "all: $([ $status -eq 0 ] && echo passed || echo not passed), $SECONDS s"
exit $status
