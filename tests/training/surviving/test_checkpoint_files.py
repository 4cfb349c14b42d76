"""Checkpoints are on disk whole or not at all, and damage is seen."""

import errno
import os
import pickle
import subprocess
from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from torch import nn

from musicgen_train.errors import UserError
from musicgen_train.training.surviving import checkpoint_files
from musicgen_train.training.surviving.checkpoint_files import (
    check_metadata,
    full_disk_is_told,
    is_whole,
    seal,
    write_whole,
)

CONTENT = {"state_dict": {"weight": torch.arange(50_000.0)}, "global_step": 3}


def test_every_byte_of_a_tensor_that_changes_is_seen(tmp_path):
    path = tmp_path / "step=3.ckpt"
    write_whole(CONTENT, path)
    assert is_whole(path)
    assert torch.load(path, weights_only=True)["global_step"] == 3
    whole = path.read_bytes()
    place = whole.index(CONTENT["state_dict"]["weight"].numpy().tobytes())
    for at in (place, place + 99_999, place + 199_999):
        path.write_bytes(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
        assert not is_whole(path)
        torch.load(path, weights_only=True)  # torch does not see it
    path.write_bytes(whole[:-1000])
    assert not is_whole(path)
    path.unlink()
    assert not is_whole(path)


def test_what_was_there_stays_when_a_write_fails(tmp_path, monkeypatch):
    path = tmp_path / "last.ckpt"
    write_whole(CONTENT, path)
    before = path.read_bytes()

    def full(content, file):
        file.write(b"half")
        raise RuntimeError("unexpected pos 64 vs 0") from OSError(errno.ENOSPC, "No space left")

    monkeypatch.setattr(checkpoint_files.torch, "save", full)
    with pytest.raises(
        UserError, match=r"last.ckpt cannot be written: the disk of .* is full.*resume=auto"
    ):
        write_whole({"global_step": 4}, path)
    assert path.read_bytes() == before and list(tmp_path.iterdir()) == [path]


def test_a_disk_that_keeps_something_else_is_told(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoint_files, "is_whole", lambda path: False)
    with pytest.raises(UserError, match="is not what the disk holds"):
        write_whole(CONTENT, tmp_path / "step=3.ckpt")
    assert not list(tmp_path.iterdir())


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 300 kB."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=300k", "tmpfs", str(folder)]
    if os.geteuid() or subprocess.run(mount, capture_output=True).returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_real_full_disk_leaves_the_older_checkpoint(small_disk):
    old, new = small_disk / "step=1.ckpt", small_disk / "step=2.ckpt"
    write_whole(CONTENT, old)
    with pytest.raises(
        UserError, match=r"step=2.ckpt cannot be written: the disk of .* is full"
    ) as told:
        write_whole(CONTENT, new)
    assert "\n" not in str(told.value)
    assert list(small_disk.iterdir()) == [old] and is_whole(old)


def test_a_log_that_meets_the_full_disk_first_tells_it_as_well(small_disk):
    with pytest.raises(UserError, match=r"the disk of .* is full"), full_disk_is_told(small_disk):
        (small_disk / "metrics.csv").write_bytes(bytes(500_000))
    with pytest.raises(ZeroDivisionError), full_disk_is_told(small_disk):
        _ = 1 / 0


def folder_of(model: nn.Module, folder: Path) -> Path:
    """A checkpoint folder as the sharded strategy leaves it to `seal`."""
    dcp.save({"state_dict": model.state_dict(), "rate": 0.1}, checkpoint_id=folder, no_dist=True)
    torch.save({"global_step": 3}, folder / "meta.pt")
    return folder


def test_a_folder_is_whole_once_it_is_sealed_and_until_a_byte_changes(tmp_path):
    final = tmp_path / "step=3.ckpt"
    partial = folder_of(nn.Linear(3, 4), tmp_path / "step=3.ckpt.part")
    assert not is_whole(partial)
    seal(partial, final)
    assert is_whole(final) and not partial.exists()
    for name in (".metadata", "__0_0.distcp", "meta.pt"):
        path = final / name
        whole = path.read_bytes()
        path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
        assert not is_whole(final), name
        path.unlink()
        assert not is_whole(final), name
        path.write_bytes(whole)
        assert is_whole(final)


def test_a_folder_of_the_same_name_is_replaced(tmp_path):
    final = tmp_path / "step=3.ckpt"
    for value in (1.0, 2.0):
        model = nn.Linear(1, 1)
        nn.init.constant_(model.weight, value)
        seal(folder_of(model, tmp_path / "step=3.ckpt.part"), final)
    state = {"state_dict": nn.Linear(1, 1).state_dict()}
    dcp.load(state, checkpoint_id=final, no_dist=True)
    assert state["state_dict"]["weight"].item() == 2.0
    assert [path.name for path in tmp_path.iterdir()] == ["step=3.ckpt"]


class Harmful:
    def __init__(self, path: Path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def test_a_folder_that_could_run_code_is_refused_and_runs_none(tmp_path):
    folder = folder_of(nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4)), tmp_path / "real")
    check_metadata(folder)
    harmful = folder_of(nn.Linear(3, 4), tmp_path / "metadata")
    (harmful / ".metadata").write_bytes(pickle.dumps(Harmful(tmp_path / "ran")))
    value = tmp_path / "value"
    dcp.save({"rate": Harmful(tmp_path / "ran")}, checkpoint_id=value, no_dist=True)
    for folder in (harmful, value):
        with pytest.raises(UserError, match=r"is no checkpoint folder of train\.py"):
            check_metadata(folder)
    assert not (tmp_path / "ran").exists()
