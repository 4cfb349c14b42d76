"""A signal ends a run between two steps, with a checkpoint, and the job goes back in the queue."""

import os
import signal
import subprocess
import sys
import time
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path

import pytest
import torch

import train
from musicgen_train.training.codec_module import CodecModule
from musicgen_train.training.lm_module import MusicGenModule
from musicgen_train.training.surviving.preemption import Preemption
from tests.small_training import arguments, config, fit
from tests.training.survival import assert_same_run, auto, fit_and_die, in_a_process, status

ROOT = Path(__file__).parents[3]
MODULES = {"codec_tiny": CodecModule, "lm_demo": MusicGenModule}
KEEP_TWO = "callbacks.checkpoint.save_top_k=2"


@pytest.fixture(autouse=True)
def in_an_empty_directory(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def fit_with_signals(cfg, module, signals: dict[int, int], out: str = os.devnull) -> None:
    """Train; each signal comes in the midst of the step of that number, counted from 1."""
    real = module.training_step

    def training_step(self, batch, batch_idx):
        if self.global_step + 1 in signals:
            os.kill(os.getpid(), signals[self.global_step + 1])
        return real(self, batch, batch_idx)

    module.training_step = training_step
    with open(out, "w") as file, redirect_stdout(file), redirect_stderr(file):
        train.run(cfg)


@pytest.mark.parametrize("experiment", ["codec_tiny", "lm_demo"])
def test_a_run_that_is_told_to_stop_ends_later_as_the_straight_one(experiment, datasets):
    small = ("max_steps=8", KEEP_TWO)
    straight = fit(config(experiment, datasets, "name=straight", *small))
    stopped = auto(experiment, datasets, "name=stopped", *small)
    module, checkpoints = MODULES[experiment], Path("runs/stopped/checkpoints")
    # After step 3, which is not one to be saved, and after step 4, which is, and is validated.
    for signals, step in (({3: signal.SIGTERM}, 3), ({4: signal.SIGTERM}, 4)):
        process = in_a_process(fit_with_signals, stopped, module, signals, "output")
        assert status(process) == 128 + signal.SIGTERM
        assert f"stopped after step {step}: runs/stopped/checkpoints/" in Path("output").read_text()
        saved = torch.load(checkpoints / f"step={step}.ckpt", weights_only=True)
        assert saved["global_step"] == saved["MusicDataModule"]["batches"] == step
        assert os.readlink(checkpoints / "last.ckpt") == f"step={step}.ckpt"
        assert not Path("runs/stopped/model").exists()
    assert status(in_a_process(fit_and_die, stopped, None, 0)) == 0
    assert_same_run(straight, Path("runs/stopped"))


def test_gradients_that_are_accumulated_are_not_cut_off(datasets):
    small = ("max_steps=6", "trainer.accumulate_grad_batches=2", KEEP_TWO)
    small += ("trainer.val_check_interval=4",)
    straight = fit(config("lm_demo", datasets, "name=straight", *small))
    stopped = auto("lm_demo", datasets, "name=stopped", *small)
    signals = {3: signal.SIGTERM}  # comes in both halves of the step
    assert status(in_a_process(fit_with_signals, stopped, MusicGenModule, signals)) == 143
    saved = torch.load("runs/stopped/checkpoints/last.ckpt", weights_only=True)
    assert saved["global_step"] == 3 and saved["MusicDataModule"]["batches"] == 6
    assert status(in_a_process(fit_and_die, stopped, None, 0)) == 0
    assert_same_run(straight, Path("runs/stopped"))


def fake_scontrol(folder: Path, code: int) -> None:
    script = folder / "scontrol"
    script.write_text(f'#!/bin/sh\necho "$@" >>{folder}/called\necho refused >&2\nexit {code}\n')
    script.chmod(0o755)


@pytest.mark.parametrize(
    ("signum", "code", "array", "called", "left"),
    [
        (signal.SIGUSR1, 0, {}, "requeue 12\n", 0),
        (signal.SIGTERM, 0, {"SLURM_ARRAY_JOB_ID": "9", "SLURM_ARRAY_TASK_ID": "3"},
         "requeue 9_3\n", 0),
        (signal.SIGUSR1, 1, {}, "requeue 12\n", 128 + signal.SIGUSR1),
        (signal.SIGINT, 0, {}, "", 128 + signal.SIGINT),
    ],
)  # fmt: skip
def test_slurm_gets_its_job_back(
    datasets, tmp_path, monkeypatch, signum, code, array, called, left
):
    fake_scontrol(tmp_path, code)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    slurm = {"NTASKS": "1", "JOB_NAME": "train", "JOB_ID": "12", "PROCID": "0", "LOCALID": "0"}
    slurm |= {"NODEID": "0", "NODELIST": "localhost"}
    for name, value in {**{f"SLURM_{k}": v for k, v in slurm.items()}, **array}.items():
        monkeypatch.setenv(name, value)
    cfg = config("lm_demo", datasets, "max_steps=6", "name=queued", "+trainer.num_nodes=1")
    process = in_a_process(fit_with_signals, cfg, MusicGenModule, {3: signum}, "output")
    output = Path("output")
    assert status(process) == left, output.read_text()
    assert (tmp_path / "called").read_text() == called if called else not Path("called").exists()
    assert Path("runs/queued/checkpoints/step=3.ckpt").exists()
    assert ("not requeued: scontrol: refused" in output.read_text()) == bool(code)
    assert not list(Path().rglob("hpc_ckpt*"))  # of Lightning's own handler


def test_the_same_signal_again_ends_at_once(monkeypatch):
    again = Preemption(again_after=0.05)
    again._handle(signal.SIGTERM, None)
    killed = []
    monkeypatch.setattr(os, "kill", lambda pid, number: killed.append(number))
    before = signal.getsignal(signal.SIGTERM)
    again._handle(signal.SIGTERM, None)  # passed on by a launcher
    assert not killed
    time.sleep(0.1)
    again._handle(signal.SIGUSR1, None)
    assert not killed
    try:
        again._handle(signal.SIGTERM, None)
        assert killed == [signal.SIGTERM] and signal.getsignal(signal.SIGTERM) == signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


TWO = ("trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true")


@pytest.mark.slow
@pytest.mark.parametrize("experiment", ["codec_tiny", "lm_demo"])
def test_two_ranks_stop_together_and_end_later_as_the_straight_run(experiment, datasets):
    """The signal goes to one of them."""

    def command(*overrides: str) -> list[str]:
        small = ("max_steps=40", "callbacks.checkpoint.every_n_train_steps=10", KEEP_TWO, *TWO)
        small += ("trainer.val_check_interval=10",)
        return [
            sys.executable, str(ROOT / "train.py"),
            *arguments(experiment, datasets, *small, *overrides),
        ]  # fmt: skip

    subprocess.run(command("name=straight"), check=True)
    process = subprocess.Popen(command("name=stopped", "resume=auto"), start_new_session=True)
    deadline = time.monotonic() + 90
    while not Path("runs/stopped/checkpoints/step=10.ckpt").exists():
        assert time.monotonic() < deadline and process.poll() is None
        time.sleep(0.002)
    process.send_signal(signal.SIGTERM)
    assert process.wait(60) == 128 + signal.SIGTERM
    saved = torch.load("runs/stopped/checkpoints/last.ckpt", weights_only=True)
    assert 10 <= saved["global_step"] < 40
    subprocess.run(command("name=stopped", "resume=auto"), check=True)
    assert_same_run(Path("runs/straight"), Path("runs/stopped"))
