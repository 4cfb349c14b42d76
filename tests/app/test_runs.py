"""Finished evaluations side by side, whatever lies in the runs."""

import json
import os

import pytest

from musicgen_train.app.runs import find_evaluations, shared_clips, table
from tests.app.test_run_results import PROMPTS, put, sampled


def row(name, value, **more):
    return {
        "name": name, "title": name, "value": value, "better": "lower", "n_clips": 24, "unit": "",
        "good_end": 1.0, "good_end_is": "real", "bad_end": 9.0, "bad_end_is": "noise",
        "n_vectors": None, "interval": [value - 0.1, value + 0.1], "interval_is": "t",
        "warnings": [], "others": {}, "settings": {"embedder": "judge"},
    } | more  # fmt: skip


def clip(key, text="calm", **audio):
    return {"key": key, "description": text, "audio": audio, "scores": {}, "facts": {}}


def evaluation(folder, *rows, clips=(), **settings):
    content = {
        "format": 2, "subtitle": "24 prompts", "metrics": list(rows), "faults": {},
        "clips": list(clips), "settings": {"seed": 0, "dataset": "/home/me/data"} | settings,
        "versions": {},
    }  # fmt: skip
    put(folder / "metrics.json", content)
    return folder


def labels(runs_dir):
    return [run.label for run in find_evaluations(runs_dir)]


def test_evaluations_are_found_the_newest_first(tmp_path):
    for number, name in enumerate(["a/evaluation", "b", "c/lm/eval"]):
        folder = evaluation(tmp_path / name, row("kad.judge", 1.0))
        os.utime(folder / "metrics.json", (number, number))
    evaluation(tmp_path / "a/evaluation/report", row("kad.judge", 1.0))  # a copy beside a page
    evaluation(tmp_path / ".hidden", row("kad.judge", 1.0))
    assert labels(tmp_path) == ["c/lm/eval", "b", "a/evaluation"]
    assert labels(tmp_path / "none") == []


def test_a_table_has_figures_arrows_and_a_verdict(tmp_path):
    evaluation(tmp_path / "a", row("kad.judge", 5.0), row("fad.judge", 300.0, interval=None))
    evaluation(tmp_path / "b", row("kad.judge", 2.0))
    one, two = sorted(find_evaluations(tmp_path), key=lambda run: run.label)
    columns, rows, notes = table([one, two, two])
    assert columns == ["Metric", "a", "b", "Verdict"]
    assert rows == [
        ["KAD judge ↓", "5.00 [4.90, 5.10]", "2.00 [1.90, 2.10] *", "b better"],
        ["FAD judge ↓", "300", "–", ""],
    ]
    assert notes == ["In one run only: fad.judge."]
    assert table([one]).columns == ["Metric", "a"] and len(table([one]).rows[0]) == 2
    assert table([]).rows == []


def test_figures_of_other_protocols_are_not_compared_and_it_is_said(tmp_path):
    evaluation(tmp_path / "a", row("kad.judge", 5.0))
    evaluation(tmp_path / "b", row("kad.judge", 2.0, settings={"embedder": "other"}))
    runs = sorted(find_evaluations(tmp_path), key=lambda run: run.label)
    _, rows, notes = table(runs)
    assert rows[0][2].endswith("≠") and rows[0][3] == "not comparable"
    assert "b is not comparable in kad.judge: embedder: judge, here other" in notes[0]


def test_both_sides_of_a_fine_tuning_are_runs_of_their_own(tmp_path):
    run = sampled(tmp_path / "mine")
    style = [row(f"kad.judge.{side}", value) for side, value in (("before", 5.0), ("after", 2.0))]
    put(run / "evaluation/metrics.json", {"style": style, "general": [], "clips": 1})
    runs = find_evaluations(tmp_path)
    assert [one.label for one in runs] == ["mine, before", "mine, after"]
    assert table(runs).rows == [
        ["KAD judge ↓", "5.00 [4.90, 5.10]", "2.00 [1.90, 2.10] *", "mine, after better"]
    ]
    [first, second] = shared_clips(runs)
    assert first.text == PROMPTS[0]["text"] and second.text == "fast"
    assert {title: path.parent.name for title, path in first.audio.items()} == {
        "Reference": "train", "mine, before: generated": "before",
        "mine, after: generated": "after",
    }  # fmt: skip


def test_players_are_of_the_prompts_that_all_have(tmp_path):
    for name, other in (("a", "x"), ("b", "y")):
        run = tmp_path / name
        put(run / "audio/1.flac")
        clips = [clip("1", text="audio/1.flac"), clip("2", other), clip(name)]
        clips[0] |= {"audio": {"text": "audio/1.flac", "reference": "audio/1.flac"}}
        evaluation(run, row("kad.judge", 1.0), clips=clips)
    runs = sorted(find_evaluations(tmp_path), key=lambda run: run.label)
    [shared] = shared_clips(runs)
    assert sorted(shared.audio) == ["Reference", "a: from the text", "b: from the text"]
    assert len(shared_clips(runs[:1])) == 3 and shared_clips([]) == []


@pytest.mark.parametrize(
    "place", ["../../secret.flac", "{outside}", "link.flac", "up/secret.flac", "pipe.flac",
              "a.json", "", ".", "a\0.flac", 5, None, ["x"]],
)  # fmt: skip
def test_no_player_leads_out_of_the_run(tmp_path, place):
    outside = put(tmp_path / "secret.flac")
    run = tmp_path / "runs/r"
    put(run / "a.json", {})
    os.symlink(outside, run / "link.flac")
    os.symlink(tmp_path, run / "up")
    os.mkfifo(run / "pipe.flac")
    place = place.format(outside=outside) if isinstance(place, str) else place
    evaluation(
        run, row("kad.judge", 1.0), clips=[clip("1", text=place) | {"audio": {"text": place}}]
    )
    [found] = find_evaluations(tmp_path / "runs")
    assert [one.audio for one in found.clips] == [{}]


DEEP = "[" * 90_000
HOSTILE = {
    "empty": "", "half": '{"format": 2, "metrics": [{"na', "deep": DEEP, "list": "[]",
    "old": '{"format": 1, "metrics": []}', "no metrics": '{"format": 2}',
    "null metrics": '{"format": 2, "metrics": null}',
    "sides": '{"style": 5, "general": {"a": 1}}',
    "sides of nothing": '{"style": [], "general": []}',
    "huge": " " * 20_000_000 + "{}", "digits": '{"format": ' + "9" * 9999 + "}",
}  # fmt: skip


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
def test_what_is_no_evaluation_is_left_out(tmp_path, text):
    put(tmp_path / "bad/metrics.json", text)
    evaluation(tmp_path / "good", row("kad.judge", 1.0))
    assert labels(tmp_path) == ["good"]


ODD = {
    "name": ["", None, 5, "x" * 500, "....", "fad", "text.control.", "\ud800"],
    "value": [None, float("nan"), 1e400, "5", True, 10**400],
    "better": ["best", None, 5, []],
    "n_clips": [-1, "24", None, 2**80],
    "unit": [5, None, "share", "<b>"],
    "interval": [[], [1], [1, None], [2, 1], "ab", [float("nan"), 1], [1, 2, 3], {}],
    "n_vectors": ["x", 0, -5],
    "warnings": [5, [5, None], "abc"],
    "others": [[], {"a": "b"}, {"a": {}}],
    "settings": [[], {"a": [[[[[[]]]]]]}, {"dropped": 5}, {"dropped": {"a": {}}}, {"a": None}],
    "good_end": ["1", float("inf")],
}


@pytest.mark.parametrize("key, value", [(key, v) for key, values in ODD.items() for v in values])
def test_odd_figures_are_shown_or_left_out_and_break_nothing(tmp_path, key, value):
    evaluation(tmp_path / "a", row("kad.judge", 1.0), row("fad.judge", 2.0) | {key: value})
    evaluation(tmp_path / "b", row("kad.judge", 3.0), row("fad.judge", 2.0))
    columns, rows, notes = table(find_evaluations(tmp_path))
    assert len(columns) == 4 and any(cells[0] == "KAD judge ↓" for cells in rows)
    for text in (*notes, *(cell for cells in rows for cell in cells)):
        text.encode()


def test_odd_clips_break_nothing(tmp_path):
    odd = [None, 5, [], {}, {"key": []}, {"key": "1", "audio": []}, {"key": "1", "scores": 5},
           {"key": "2", "description": 5, "facts": {"reference": {"a": "b"}}}]  # fmt: skip
    for name in "ab":
        folder = evaluation(tmp_path / name, row("kl.judge", 1.0), clips=odd)
        content = json.loads((folder / "metrics.json").read_text())
        put(folder / "metrics.json", content | {"files": odd})
    runs = find_evaluations(tmp_path)
    assert len(runs) == 2 and table(runs).rows and shared_clips(runs)


def test_the_protocol_is_shown_without_places_of_the_server(tmp_path):
    evaluation(tmp_path / "a", row("kad.judge", 1.0), sampling={"top_k": 250}, unset=None)
    [run] = find_evaluations(tmp_path)
    assert dict(run.protocol) == {"seed": "0", "dataset": "data", "sampling.top_k": "250"}
