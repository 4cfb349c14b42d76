"""status.json and its kin may hold anything: a status comes of it, and nothing is raised."""

import json
import os

import pytest

from musicgen_train.app.run_status import read_status
from musicgen_train.app.untrusted_files import (
    as_number,
    as_plain,
    as_text,
    read_object,
    regular_file,
)

WHOLE = {
    "name": "r", "state": "running", "pid": 123, "message": "", "stage": "train", "progress": 0.25,
    "note": "step 3", "eta": 12.5, "updated": 1e9,
    "stages": [{"name": "train", "title": "Training", "state": "running", "seconds": None}],
    "songs": [{"song": "a.wav", "state": "failed", "reason": "is silent"}],
    "estimate": {"train": 60.0},
    "plan": {"songs": 3, "memory": 2e9, "device": "CPU", "steps": 150},
}  # fmt: skip

DAMAGED = {
    "empty": "", "half": json.dumps(WHOLE)[:100], "list": "[1, 2]", "text": '"running"',
    "null": "null", "deep": "[" * 100_000, "deep objects": '{"stages":' * 5000,
    "digits": '{"eta": ' + "9" * 10_000 + "}", "binary": "\udcff\udcfe",
    "huge": '{"note": "' + "x" * 20_000_000 + '"}',
}  # fmt: skip

ODD = {
    "state": ["running", 1, "hacked", None, {}],
    "pid": ["1", -5, 0, 1, 2**70, 1.5, True],
    "progress": [float("nan"), float("inf"), -1, 2, "0.5", None, 10**400],
    "eta": [float("nan"), -3, "soon", 1e300],
    "stages": [None, {}, [None], [[]], [{"name": 5}], "x", [{"name": "a", "seconds": "b"}] * 9999],
    "songs": [None, [1], [{"song": {}}], [{"song": "\ud800 a\0\u202eb", "state": 4}] * 5000],
    "estimate": [[], {"train": "long"}, {"train": float("nan")}, {"a" * 9999: 1}],
    "plan": [[], {"songs": "3", "memory": -1, "device": 7}, {"steps": 1e400}],
    "message": [5, "x" * 10_000, "one\ntwo", "\ud800\0"],
    "stage": [3, [], "y" * 999],
}


def status(folder, text):
    (folder / "status.json").write_text(text, errors="surrogateescape")
    return read_status(folder, lambda line: line).status


def test_what_the_recipe_writes_is_read(tmp_path):
    found = status(tmp_path, json.dumps(WHOLE))
    assert (found.state, found.stage, found.progress, found.seconds_left) == (
        "running", "train", 0.25, 12.5,
    )  # fmt: skip
    assert found.stages[0].expected == 60 and found.songs[0].reason == "is silent"
    assert found.plan is not None and found.plan.songs == 3 and found.plan.total_seconds == 60


@pytest.mark.parametrize("text", DAMAGED.values(), ids=DAMAGED)
def test_damage_reads_as_nothing(tmp_path, text):
    assert status(tmp_path, text).state == "new"


@pytest.mark.parametrize("key, value", [(key, v) for key, values in ODD.items() for v in values])
def test_an_odd_value_is_left_out_and_the_rest_is_read(tmp_path, key, value):
    found = status(tmp_path, json.dumps(WHOLE | {key: value}))
    assert found.note == "step 3" and 0 <= found.progress <= 1
    assert found.state in ("running", "new") and len(found.songs) <= 1000
    for text in (found.message, found.stage or "", *(s.song for s in found.songs)):
        text.encode()
        assert len(text) <= 500 and "\n" not in text and "\0" not in text and "\u202e" not in text


def test_an_older_version_without_plan_is_read(tmp_path):
    old = {key: value for key, value in WHOLE.items() if key not in ("plan", "updated", "songs")}
    found = status(tmp_path, json.dumps(old))
    assert (
        found.plan is not None and found.plan.songs is None and found.plan.seconds == {"train": 60}
    )


def test_neither_pipes_nor_links_nor_folders_are_read(tmp_path):
    run, other = tmp_path / "run", tmp_path / "other.json"
    run.mkdir()
    other.write_text('{"a": 1}')
    os.mkfifo(run / "pipe")
    (run / "out").symlink_to(other)
    (run / "up").symlink_to("..")
    (run / "loop").symlink_to("loop")
    (run / "inside").write_text('{"a": 1}')
    (run / "link").symlink_to("inside")
    for name in ("pipe", "out", "up/other.json", "../other.json", "loop", "", ".", "none", "a\0"):
        assert read_object(run, name) == {}
    assert read_object(run, str(other)) == {} and read_object(run, "x" * 5000) == {}
    assert read_object(run, "inside") == {"a": 1} == read_object(run, "link")
    assert regular_file(run, "inside", most=3) is None


def test_values_are_what_they_are_taken_for():
    assert as_number(10**400) is None and as_number(True) is None and as_number(3) == 3
    assert as_text("a\0b\u202ec\ud800\n👩‍🎤") == "abc\n👩‍🎤" and len(as_text("x" * 99, 10)) == 10
    deep = []
    for _ in range(900):
        deep = [deep]
    assert json.dumps(as_plain({"a": deep})) == '{"a": [[[["\\u2026"]]]]}'
