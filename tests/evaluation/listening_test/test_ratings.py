"""Ratings on disk: none is lost, whatever ends the process; what is no rating is told."""

import json
import os
import threading
from dataclasses import asdict, replace

import pytest

from musicgen_train.errors import UserError
from musicgen_train.evaluation.listening_test.ratings import RatingsFile, done_trials
from tests.evaluation.listening_test.small_listening import rating


def test_what_was_appended_is_read_in_order(tmp_path):
    file = RatingsFile(tmp_path / "new" / "r.jsonl")
    file.prepare()
    rows = [rating(name=name, points=points) for name, points in (("ü", 1), ("two", 100))]
    file.append(rows[:1])
    file.append(rows[1:])
    assert file.read().ratings == rows and file.read().faults == []
    assert RatingsFile(tmp_path / "none.jsonl").read().ratings == []


def test_a_half_written_line_is_told_and_spoils_no_other(tmp_path):
    file = RatingsFile(tmp_path / "r.jsonl")
    file.append([rating(name="one"), rating(name="two")])
    whole = file.path.read_bytes()
    for cut in (1, 30, 200):
        file.path.write_bytes(whole[:-cut])
        read = file.read()
        if cut == 1:  # only the end of the line is missing
            assert len(read.ratings) == 2 and not read.faults
        else:
            assert [row.name for row in read.ratings] == ["one"]
            assert len(read.faults) == 1 and "line 2: half-written" in read.faults[0]
        file.append([rating(name="three")])
        names = [row.name for row in file.read().ratings]
        assert names == (["one", "two", "three"] if cut == 1 else ["one", "three"])


def test_an_answer_that_is_there_twice_counts_once_and_the_later_one(tmp_path):
    file = RatingsFile(tmp_path / "r.jsonl")
    file.append([rating(points=10), rating(points=90), rating(points=20, repeat=1)])
    assert [row.rating for row in file.read().ratings] == [90, 20]


@pytest.mark.parametrize(
    "change",
    [
        {"rating": 0}, {"rating": 101}, {"rating": 50.0}, {"rating": True}, {"rating": None},
        {"question": "taste"}, {"version": 2}, {"listener": 3}, {"seconds": float("nan")},
    ],
)  # fmt: skip
def test_rows_that_are_no_ratings_are_told_with_their_line(tmp_path, change):
    path = tmp_path / "r.jsonl"
    rows = [asdict(rating(name="one")), asdict(rating()) | change, asdict(rating(name="two"))]
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    read = RatingsFile(path).read()
    assert [row.name for row in read.ratings] == ["one", "two"]
    assert len(read.faults) == 1 and "line 2: " in read.faults[0]


def test_a_write_that_fails_leaves_no_part_of_it(tmp_path, monkeypatch):
    file = RatingsFile(tmp_path / "r.jsonl")
    file.append([rating(name="one")])
    before = file.path.read_bytes()
    written = []

    def full_disk(descriptor, data):
        if written:
            raise OSError(28, "No space left on device")
        written.append(data)
        return write(descriptor, data[:20])

    write = os.write
    monkeypatch.setattr(os, "write", full_disk)
    with pytest.raises(OSError, match="No space"):
        file.append([rating(name="two")])
    assert written and file.path.read_bytes() == before


def append_many(path, listener):
    file = RatingsFile(path)
    for i in range(40):
        file.append([rating(listener, name=str(i), system=system) for system in "ab"])


def test_servers_that_append_at_once_lose_nothing(tmp_path):
    path = tmp_path / "r.jsonl"
    # Files opened apart are locked against each other as those of two processes are.
    workers = [threading.Thread(target=append_many, args=(path, name)) for name in ("x", "y")]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    read = RatingsFile(path).read()
    assert len(read.ratings) == 160 and not read.faults


def test_a_trial_is_done_when_every_system_has_every_answer():
    rows = [rating(system=s, question=q) for s in "ab" for q in ("overall", "relevance")]
    asked = ("ab", ("overall", "relevance"))
    assert done_trials(rows, "ada", *asked) == {("one", 0)}
    assert done_trials(rows[1:], "ada", *asked) == set()
    assert done_trials(rows, "bo", *asked) == set()
    assert done_trials([replace(row, repeat=1) for row in rows], "ada", *asked) == {("one", 1)}


def test_a_file_that_cannot_be_written_is_refused_in_one_line(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot be written"):
        RatingsFile(tmp_path / "file" / "r.jsonl").prepare()
    with pytest.raises(UserError, match="is no file"):
        RatingsFile(tmp_path).prepare()
