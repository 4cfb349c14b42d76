import errno
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
    assert names(tmp_path / ".out.partial") == [WORK, f"{WORK}/a.tar", f"{WORK}/lock"]


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
