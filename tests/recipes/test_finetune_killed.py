"""A fine-tuning that is killed at any moment and run again ends as if nothing had happened."""

import hashlib
import os
import random
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.recipes.finetuning_songs import ROOT, base, songs

ENDS = (
    "training/model/model.safetensors", "training/adapter/adapter_model.safetensors",
    "samples/before/style_000.flac", "samples/after/general_001.flac", "captions.jsonl",
    "codes/shard-000000.tar", "prior/shard-000000.tar", "evaluation/metrics.json",
)  # fmt: skip


def command(name):
    keys = {
        "input_dir": "songs", "base": "base", "name": name, "trigger": "my style", "steps": 60,
        "batch_size": 2, "segment_duration": 1, "min_duration": 0.5, "prior_clips": 40, "clips": 4,
        "shown": 1, "rank": 2, "separator": "none", "num_workers": 0, "device": "cpu",
    }  # fmt: skip
    words = [f"{key}={value}" for key, value in keys.items()]
    return [sys.executable, str(ROOT / "recipes/finetune.py"), *words]


def digests(folder, name):
    run = folder / "runs" / name
    return {end: hashlib.sha256((run / end).read_bytes()).hexdigest() for end in ENDS}


def start(folder, name):
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    return subprocess.Popen(
        command(name), cwd=folder, env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGTERM])
def test_a_killed_run_ends_with_the_same_bytes(tmp_path, how, n_kills=5):
    folder = Path(tmp_path)
    songs(folder / "songs", 6)
    base(folder / "base")
    began = time.monotonic()
    straight = start(folder, "run")
    assert straight.communicate()[0] is not None and straight.returncode == 0
    whole = time.monotonic() - began
    (folder / "runs/run").rename(folder / "runs/straight")
    rng = random.Random(0)
    for _ in range(n_kills):
        process = start(folder, "run")
        time.sleep(rng.uniform(0.2, 1.0) * whole)
        process.send_signal(how)
        process.communicate()
    last = start(folder, "run")
    said = last.communicate()[0]
    assert last.returncode == 0, said
    assert digests(folder, "run") == digests(folder, "straight")
    assert not list((folder / "runs/run").rglob("*.partial"))
