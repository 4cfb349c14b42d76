import errno
import os
from pathlib import Path

import pytest

from data_prep.folders import WORK, alone_in, resumable_folder
from musicgen_train.errors import UserError


def names(folder):
    return sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*"))


def test_the_folder_appears_whole_and_without_the_work(tmp_path):
    with resumable_folder(tmp_path / "out") as folder:
        (folder / WORK / "a.tar").touch()
        (folder / "shard").touch()
        assert not (tmp_path / "out").exists()
    assert names(tmp_path) == ["out", "out/shard"]


def test_finished_work_survives_an_error_and_the_rest_does_not(tmp_path):
    with pytest.raises(UserError), resumable_folder(tmp_path / "out") as folder:
        (folder / WORK / "a.tar").touch()
        (folder / "half a shard").touch()
        raise UserError("disk full")
    assert "half a shard" not in str(names(tmp_path))
    with resumable_folder(tmp_path / "out") as folder:
        assert (folder / WORK / "a.tar").exists()


def test_a_disk_that_is_full_at_the_end_is_one_clear_line_and_keeps_the_work(tmp_path):
    with pytest.raises(UserError, match="make room"), resumable_folder(tmp_path / "out") as folder:
        (folder / WORK / "a.tar").touch()
        (folder / "shard").touch()
        raise OSError(errno.ENOSPC, "No space left on device")
    assert names(tmp_path / ".out.partial") == [WORK, f"{WORK}/a.tar"]


def test_an_error_before_any_work_leaves_nothing(tmp_path):
    with pytest.raises(UserError), resumable_folder(tmp_path / "out"):
        raise UserError("no music")
    assert names(tmp_path) == []


def test_half_packed_shards_of_a_killed_run_are_gone(tmp_path):
    partial = tmp_path / ".out.partial"
    (partial / WORK).mkdir(parents=True)
    (partial / "shard-000000.tar").write_bytes(b"half")
    with resumable_folder(tmp_path / "out"):
        pass
    assert names(tmp_path) == ["out"]


def test_what_exists_is_never_touched(tmp_path):
    (tmp_path / "out").mkdir()
    with pytest.raises(UserError, match="exists already"), resumable_folder(tmp_path / "out"):
        pass


def test_two_runs_never_work_in_one_folder(tmp_path):
    with (
        alone_in(tmp_path / "work"),
        pytest.raises(UserError, match="another run"),
        alone_in(tmp_path / "work"),
    ):
        pass
    with alone_in(tmp_path / "work"):
        pass


def test_a_place_that_cannot_be_written_is_one_clear_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match="cannot be written"), resumable_folder(tmp_path / "file/x"):
        pass
    with pytest.raises(UserError, match="local folders"), resumable_folder(Path("s3://b/x")):
        pass


def test_a_run_that_waited_for_another_to_finish_leaves_its_dataset_alone(tmp_path):
    with alone_in(tmp_path / "a") as _:
        os.rename(tmp_path / "a", tmp_path / "b")
        with pytest.raises(UserError, match="another run"), alone_in(tmp_path / "b"):
            pass


def test_a_link_to_nowhere_and_a_folder_made_meanwhile_are_told_before_work_is_lost(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    with pytest.raises(UserError, match="exists already"), resumable_folder(tmp_path / "link"):
        pass
    with pytest.raises(UserError, match="exists already"), resumable_folder(tmp_path / "out") as f:
        (f / WORK / "a.tar").touch()
        (tmp_path / "out").mkdir()
    assert (tmp_path / ".out.partial" / WORK / "a.tar").exists()


def test_an_interrupted_run_says_how_to_go_on(tmp_path):
    with pytest.raises(UserError, match="interrupted"), resumable_folder(tmp_path / "out") as f:
        (f / WORK / "a.tar").touch()
        raise KeyboardInterrupt
    assert (tmp_path / ".out.partial" / WORK / "a.tar").exists()
    with pytest.raises(UserError, match="interrupted"), resumable_folder(tmp_path / "none"):
        raise KeyboardInterrupt
    assert not (tmp_path / ".none.partial").exists()
