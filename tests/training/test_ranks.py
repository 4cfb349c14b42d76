"""Codec training on two processes is the training of one on their batches joined."""

import subprocess
import sys
from pathlib import Path

import torch
from hydra import compose, initialize_config_dir

import train

ROOT = Path(__file__).parents[2]
TINY = [
    "experiment=codec_tiny", "max_steps=4", "codec.sample_rate=2000", "codec.frame_rate=100.0",
    "codec.card=16", "codec.ratios=[4,5]", "codec.n_filters=4", "codec.dimension=8",
    "codec.dead_code_threshold=1.0", "task.warmup_steps=1", "task.kmeans_batches=3",
    "task.adversary.discriminator.filters=4", "task.adversary.discriminator.n_ffts=[256]",
    "schedule=constant", "task.adversary.start_step=0", "task.adversary.period=2",
    "data.segment_duration=0.5",
    "trainer.val_check_interval=4", "callbacks.checkpoint.every_n_train_steps=4", "num_threads=1",
]  # fmt: skip
TWO = ["trainer=ddp", "trainer.accelerator=cpu", "trainer.devices=2", "trainer.precision=32-true"]


def last_state(run_dir: Path) -> dict:
    return torch.load(run_dir / "checkpoints" / "last.ckpt", weights_only=True)["state_dict"]


def test_two_processes_train_as_one_with_the_joined_batch(datasets, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shared = [*TINY, f"data.path={datasets['audio']}"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        train.run(compose("train", [*shared, "name=one", "data.batch_size=4"]))
    # In an interpreter of its own, since Lightning starts the same command for each further rank.
    two = [str(ROOT / "train.py"), *shared, *TWO, "name=two", "data.batch_size=2"]
    subprocess.run([sys.executable, *two], check=True, timeout=300)
    ours, theirs = last_state(Path("runs/one")), last_state(Path("runs/two"))
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        torch.testing.assert_close(theirs[name], tensor, rtol=1e-3, atol=1e-4, msg=name)
