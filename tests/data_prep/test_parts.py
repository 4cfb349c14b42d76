import os

import numpy as np
import pytest

from data_prep.parts import (
    npy_array,
    npy_bytes,
    part_path,
    read_report,
    read_samples,
    remove_unfinished,
    writing_part,
)

SAMPLES = [{"flac": bytes([i]) * 700, "json": b"{}"} for i in range(3)]


def write(path):
    with writing_part(path) as part:
        for files in SAMPLES:
            part.add(files)
        part.finish({"n": 3, "name": "Ærø"}, fingerprint=np.arange(5, dtype=np.uint32))


def test_a_part_gives_back_its_samples_and_its_report(tmp_path):
    write(tmp_path / "a.tar")
    assert list(read_samples(tmp_path / "a.tar")) == SAMPLES
    found = read_report(tmp_path / "a.tar")
    assert found is not None
    report, arrays = found
    assert report == {"n": 3, "name": "Ærø"}
    assert arrays["fingerprint"].tolist() == [0, 1, 2, 3, 4]


def test_equal_work_gives_equal_bytes(tmp_path):
    write(tmp_path / "a.tar")
    write(tmp_path / "b.tar")
    assert (tmp_path / "a.tar").read_bytes() == (tmp_path / "b.tar").read_bytes()


def test_a_part_without_samples_is_still_a_report(tmp_path):
    with writing_part(tmp_path / "a.tar") as part:
        part.finish({"n": 0})
    assert read_report(tmp_path / "a.tar") == ({"n": 0}, {})
    assert list(read_samples(tmp_path / "a.tar")) == []


def test_work_that_fails_leaves_nothing(tmp_path):
    with pytest.raises(RuntimeError), writing_part(tmp_path / "a.tar") as part:
        part.add(SAMPLES[0])
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("share", [0.0, 0.3, 0.7, 0.9])
def test_a_part_that_was_cut_counts_as_absent(tmp_path, share):
    write(tmp_path / "a.tar")
    size = (tmp_path / "a.tar").stat().st_size - 10240  # a tar ends with zeros that say nothing
    os.truncate(tmp_path / "a.tar", int(size * share))
    assert read_report(tmp_path / "a.tar") is None
    assert read_report(tmp_path / "none.tar") is None


def test_what_killed_workers_left_is_removed_and_parts_stay(tmp_path):
    path = part_path(tmp_path, "ab12")
    write(path)
    (path.parent / ".cd34.17.tmp").write_bytes(b"half")
    (tmp_path / "scratch" / "x").mkdir(parents=True)
    remove_unfinished(tmp_path)
    assert not (tmp_path / "scratch").exists()
    assert list(path.parent.iterdir()) == [path]


def test_arrays_survive_as_bytes():
    array = np.arange(6, dtype=np.uint16).reshape(2, 3)[:, ::2]
    assert (npy_array(npy_bytes(array)) == array).all()
