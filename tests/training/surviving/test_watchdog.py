"""A run that hangs is ended, with the stacks of those who hang."""

import ctypes
import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest

import train
from musicgen_train.errors import UserError
from musicgen_train.training.lm_module import MusicGenModule
from musicgen_train.training.surviving import watchdog
from musicgen_train.training.surviving.watchdog import Watchdog, verdict
from tests.small_training import ROOT, arguments, config
from tests.training.survival import in_a_process, status

TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true")


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fit_and_hang(cfg, hang) -> None:
    """Train; `hang` is called in the midst of the third step. Output goes to the file `output`."""
    real = MusicGenModule.training_step
    watchdog.GRACE = 0.2

    def training_step(self, batch, batch_idx):
        if self.global_step == 2 or hang is hang_for_a_while:
            hang()
        return real(self, batch, batch_idx)

    MusicGenModule.training_step = training_step
    with open("output", "w") as file:
        os.dup2(file.fileno(), 2)
        with redirect_stdout(file), redirect_stderr(file):
            train.run(cfg)


def hang_with_a_stack() -> None:
    time.sleep(1000)


def hang_with_the_lock_of_python() -> None:
    ctypes.PyDLL(None).sleep(1000)


def hang_for_a_while() -> None:
    time.sleep(0.7)


def test_a_hung_run_ends_with_the_stack_of_what_hangs(datasets):
    cfg = config("lm_demo", datasets, "max_steps=4", "name=hung", "callbacks.watchdog.timeout=2.0",
                 "~callbacks.checkpoint")  # fmt: skip
    assert status(in_a_process(fit_and_hang, cfg, hang_with_a_stack)) == 1
    for report in (Path("output"), Path("runs/hung/hang-rank0.txt")):
        text = report.read_text()
        assert "rank 0 of 1 has not finished step 3 (the loss) for 2 s; its stack:" in text
        assert "in hang_with_a_stack" in text


def test_a_hang_that_keeps_the_lock_of_python_is_ended_too(datasets):
    cfg = config("lm_demo", datasets, "max_steps=4", "name=hung", "callbacks.watchdog.timeout=2.0")
    assert status(in_a_process(fit_and_hang, cfg, hang_with_the_lock_of_python)) == 1
    assert "in hang_with_the_lock_of_python" in Path("output").read_text()


def test_a_slow_run_is_not_taken_for_a_hung_one(datasets):
    """No step takes as long as the timeout; all together do."""
    cfg = config("lm_demo", datasets, "max_steps=4", "name=slow", "callbacks.watchdog.timeout=1.5")
    assert status(in_a_process(fit_and_hang, cfg, hang_for_a_while)) == 0
    assert not list(Path("runs/slow").glob("hang*"))


def test_whoever_is_behind_or_silent_is_named():
    here = {0: (9, "step 3 (the loss)"), 1: (8, "step 3 (the first batch)"), 2: (9, "step 3 (…)")}
    assert "behind the others is rank 1, at step 3 (the first batch)" in verdict(here, 3)
    assert "no answer from rank 1, 3" in verdict({0: here[0], 2: here[2]}, 4)
    assert "all ranks are at the same place" in verdict({0: here[0], 1: here[2]}, 2)


def test_a_timeout_of_nothing_is_refused():
    with pytest.raises(UserError, match=r"callbacks\.watchdog\.timeout is 0: use more than 0"):
        Watchdog("runs/none", timeout=0)


def on_two_ranks(datasets, *overrides: str) -> subprocess.Popen:
    command = arguments("lm_demo", datasets, *TWO, "max_steps=100000", *overrides)
    return subprocess.Popen(
        [sys.executable, str(ROOT / "train.py"), *command],
        stderr=subprocess.PIPE, text=True, start_new_session=True,
    )  # fmt: skip


@pytest.mark.slow
def test_the_rank_that_hangs_is_named_and_all_end(datasets):
    hang = ("+callbacks.hang._target_=tests.training.hanging.Hang", "+callbacks.hang.rank=1")
    run = on_two_ranks(datasets, "name=hung", "callbacks.watchdog.timeout=4.0", *hang)
    output = run.communicate(timeout=60)[1]
    assert run.returncode, output
    assert "behind the others is rank 1, at step 4 (logs, samples or the next batch)" in output
    assert "in on_train_batch_end" in Path("runs/hung/hang-rank1.txt").read_text()
    assert "reduce" in Path("runs/hung/hang-rank0.txt").read_text()


@pytest.mark.slow
def test_a_rank_that_does_not_answer_is_named_and_ended(datasets):
    run = on_two_ranks(datasets, "name=stopped", "callbacks.watchdog.timeout=4.0")
    deadline = time.monotonic() + 60
    while not Path("runs/stopped/checkpoints/step=2.ckpt").exists():
        assert time.monotonic() < deadline and run.poll() is None
        time.sleep(0.05)
    children = Path(f"/proc/{run.pid}/task/{run.pid}/children").read_text().split()
    other = next(int(pid) for pid in children if b"train.py" in cmdline(pid))
    os.kill(other, signal.SIGSTOP)
    output = run.communicate(timeout=60)[1]
    assert run.returncode == 1, output
    assert "no answer from rank 1: look there first" in output
    assert not cmdline(other)


def cmdline(pid: int | str) -> bytes:
    """Nothing if the process has ended."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    except FileNotFoundError:
        return b""
