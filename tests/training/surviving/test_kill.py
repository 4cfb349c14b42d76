"""A training that is killed at any moment goes on, and ends as if it had not been."""

import os
import random
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

from musicgen_train.training.surviving import checkpoint_files
from musicgen_train.training.surviving.checkpoint_files import WholeFileIO, is_whole
from musicgen_train.training.surviving.kept_checkpoints import KeptCheckpoints
from tests.small_training import arguments, config, fit
from tests.training.survival import assert_same_run, auto, fit_and_die, in_a_process, status

ROOT = Path(__file__).parents[3]
KEEP_TWO = ("callbacks.checkpoint.save_top_k=2",)
# The codec is killed while the quantizer is bypassed, too, and when dead codes are revived.
OVERRIDES = {
    "codec_tiny": (*KEEP_TWO, "task.warmup_steps=3", "codec.dead_code_threshold=0.5"),
    "lm_demo": KEEP_TWO,
}


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


# In the write; when it is synced under its name; when it is linked; when the older one is removed.
DEADLY = {
    "codec_tiny": [((checkpoint_files, "is_whole"), 2), ((WholeFileIO, "remove_checkpoint"), 1)],
    "lm_demo": [
        ((checkpoint_files.torch, "save"), 2),
        ((checkpoint_files, "sync_folder"), 3),
        ((KeptCheckpoints, "_link_checkpoint"), 2),
    ],
}


@pytest.mark.parametrize("experiment", ["codec_tiny", "lm_demo"])
def test_a_run_that_dies_while_it_saves_ends_as_the_straight_one(experiment, datasets):
    small = ("max_steps=8", *OVERRIDES[experiment])
    straight = fit(config(experiment, datasets, "name=straight", *small))
    killed = auto(experiment, datasets, "name=killed", *small)
    for where, call in DEADLY[experiment]:
        assert status(in_a_process(fit_and_die, killed, where, call)) == -signal.SIGKILL
    assert status(in_a_process(fit_and_die, killed, None, 0)) == 0
    assert_same_run(straight, Path("runs/killed"))


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["codec_tiny", "lm_demo"])
def test_a_run_that_is_killed_twenty_times_ends_as_the_straight_one(experiment, datasets):
    """Some kills come while it starts, some while a checkpoint is written, most in between."""
    small = ("max_steps=150", *OVERRIDES[experiment])
    straight = fit(config(experiment, datasets, "name=straight", *small))
    command = [
        sys.executable, str(ROOT / "train.py"),
        *arguments(experiment, datasets, "name=killed", "resume=auto", *small),
    ]  # fmt: skip
    rng, in_writes = random.Random(0), 0
    checkpoints = Path("runs/killed/checkpoints")
    for turn in range(20):
        process = subprocess.Popen(command, start_new_session=True, stdout=subprocess.DEVNULL)
        if turn % 5 == 4:
            time.sleep(rng.uniform(1.0, 10.0))
        else:
            wait_for_a_checkpoint(process, checkpoints, written=turn % 5 > 0)
            time.sleep(rng.uniform(0.0, 0.15) if turn % 5 else 0.0)
        assert process.poll() is None, "the run ended before it was killed: make it longer"
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        in_writes += any(checkpoints.glob("*.part"))
        assert all(is_whole(path) for path in checkpoints.glob("*.ckpt"))
    assert in_writes
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
    assert_same_run(straight, Path("runs/killed"))


def wait_for_a_checkpoint(process: subprocess.Popen, checkpoints: Path, written: bool) -> None:
    """Wait until one is written, or until one is being written."""
    began, deadline = time.time(), time.monotonic() + 120
    while process.poll() is None and not (
        newest(checkpoints, "step=*.ckpt" if written else "step=*.part") > began
    ):
        assert time.monotonic() < deadline


def newest(folder: Path, pattern: str) -> float:
    """When the youngest of such files was changed; they may vanish at any time."""
    times = [0.0]
    for path in folder.glob(pattern):
        with suppress(FileNotFoundError):
            times.append(path.stat().st_mtime)
    return max(times)
