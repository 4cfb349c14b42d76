"""Training on several processes sees what one process sees, each sample once."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from tests.data.small_dataset import damage, write_dataset
from tests.data.train_on_ranks import train

ROOT = Path(__file__).parents[2]
N, BAD = 13, "s004"


def on_ranks(dataset, folder, n_steps, devices, num_workers, *ckpt):
    """The batches of all ranks in the order of the stream."""
    folder.mkdir()
    arguments = [str(dataset), str(folder), n_steps, devices, num_workers, *map(str, ckpt)]
    if devices == 1:
        train(*arguments)
    else:
        # In an interpreter of its own: Lightning starts the same command for each further rank.
        script = str(ROOT / "tests/data/train_on_ranks.py")
        subprocess.run([sys.executable, script, *map(str, arguments)], check=True, timeout=120)
    ranks = [json.loads((folder / f"seen-{rank}.json").read_text()) for rank in range(devices)]
    steps = zip(*ranks, strict=True)
    return [key for step in steps for keys in step for key in keys]


def data_state(folder):
    return torch.load(folder / "end.ckpt", weights_only=True)["MusicDataModule"]


@pytest.mark.parametrize(
    ("devices", "num_workers"), [(2, 0), pytest.param(3, 2, marks=pytest.mark.slow)]
)
def test_ranks_share_epochs_count_bad_samples_together_and_resume_on_one(
    tmp_path, devices, num_workers
):
    dataset = write_dataset(tmp_path / "set", N)
    damage(dataset, 4, "codes.npy", lambda data: b"")
    straight = on_ranks(dataset, tmp_path / "one", 36, 1, 0)  # 72 samples
    n_steps = 36 // devices // 2
    first = on_ranks(dataset, tmp_path / "many", n_steps, devices, num_workers)
    state = data_state(tmp_path / "many")
    assert state["epoch"] * N + state["consumed"] == 36
    assert state["bad"] == 36 - len(first) > 1  # once an epoch, on whichever rank
    assert first == straight[: len(first)] and BAD not in first
    rest = on_ranks(
        dataset, tmp_path / "rest", n_steps + 18, 1, num_workers, tmp_path / "many" / "end.ckpt"
    )
    assert first + rest == straight
    assert data_state(tmp_path / "rest")["bad"] == data_state(tmp_path / "one")["bad"] == 5
