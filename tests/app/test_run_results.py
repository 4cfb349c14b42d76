"""What a fine-tuning has made: losses, samples and results, and nothing from outside the run."""

import json
import os
import zipfile

import pytest

from musicgen_train.app.run_results import (
    pack,
    read_losses,
    read_result,
    read_samples,
    read_training_samples,
)
from musicgen_train.errors import UserError

PROMPTS = [
    {"key": "style_000", "kind": "style", "text": "calm 🎵", "seed": 3, "song": "a.wav",
     "segment": "a_0000"},
    {"key": "general_000", "kind": "general", "text": "fast", "seed": 4},
]  # fmt: skip


def put(path, content=b"sound"):
    path.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def sampled(run, model="m1", prompts=PROMPTS):
    """A run whose clips are all there."""
    for side, of in (("before", "base"), ("after", model)):
        put(run / f"samples/{side}/request.json", {"prompts": prompts, "model": of})
        for prompt in PROMPTS:
            put(run / f"samples/{side}/{prompt['key']}.flac")
    put(run / "stages/train.json", {"finished": True, "result": {"model": "m1"}})
    put(run / "evaluation/songs/train/a_0000.flac")
    return run


def test_pairs_come_with_their_texts_and_the_song(tmp_path):
    style, general = read_samples(sampled(tmp_path))
    assert (style.text, style.seed, style.song) == ("calm 🎵", 3, "a.wav")
    assert [p and p.name for p in (style.before, style.after, style.original)] == [
        "style_000.flac", "style_000.flac", "a_0000.flac",
    ]  # fmt: skip
    assert general.before is not None and general.original is None


def test_clips_of_an_earlier_training_are_not_shown_as_this_ones(tmp_path):
    assert all(pair.after is None and pair.before for pair in read_samples(sampled(tmp_path, "m0")))
    put(sampled(tmp_path) / "stages/train.json", {"finished": False})
    assert all(pair.after is None for pair in read_samples(tmp_path))


@pytest.mark.parametrize(
    "key", ["../../../secret", "/tmp/secret", "link", "", "\0", "x" * 9999, "up/secret", 5, None]
)
def test_no_clip_leads_out_of_the_run(tmp_path, key):
    put(tmp_path / "secret.flac")
    run = sampled(tmp_path / "run", prompts=[{"key": key, "segment": key, "text": "x"}])
    os.symlink(tmp_path / "secret.flac", run / "samples/before/link.flac")
    os.symlink(tmp_path, run / "samples/before/up")
    for kind in ("train", "held_out"):
        os.makedirs(run / "evaluation/songs" / kind, exist_ok=True)
        os.symlink(tmp_path / "secret.flac", run / f"evaluation/songs/{kind}/link.flac")
    [pair] = read_samples(run)
    assert (pair.before, pair.after, pair.original) == (None, None, None)


@pytest.mark.parametrize("text", ["", "[" * 99999, '{"prompts": [[], 5, null, {"key": []}]}', "[]"])
def test_damaged_requests_are_no_samples(tmp_path, text):
    put(sampled(tmp_path) / "samples/before/request.json", text)
    assert all(pair.before is None for pair in read_samples(tmp_path))


def test_losses_of_resumptions_are_joined_and_the_later_log_counts(tmp_path):
    head = "epoch,step,train/ce,valid/ce\n"
    put(tmp_path / "training/logs/version_0/metrics.csv", head + "0,1,5,\n0,2,4,\n0,2,,4.5\n0,3,9,")
    put(tmp_path / "training/logs/version_10/metrics.csv", head + "0,4,2,\n0,5,nan,\n0,6,x,\n,,,\n")
    put(tmp_path / "training/logs/version_2/metrics.csv", head + "0,3,3,\n0,4,8,\n0,5,1")
    assert read_losses(tmp_path, "train") == [(1, 5.0), (2, 4.0), (3, 3.0), (4, 2.0), (5, 1.0)]
    assert read_losses(tmp_path, "valid") == [(2, 4.5)]


def test_a_long_curve_has_500_points_with_both_its_ends(tmp_path):
    rows = "".join(f"{step},{step}\n" for step in range(12_345))
    put(tmp_path / "training/logs/version_0/metrics.csv", "step,train/ce\n" + rows)
    losses = read_losses(tmp_path, "train")
    assert 400 <= len(losses) <= 500 and losses[0][0] == 0 and losses[-1][0] == 12_344


@pytest.mark.parametrize(
    "text", ["", "\0\0", "step,train/ce\n1", "a" * 300_000, '"' * 999, "1e400,"]
)
def test_damaged_logs_are_no_losses(tmp_path, text):
    put(tmp_path / "training/logs/version_0/metrics.csv", text)
    put(tmp_path / "training/logs/version_x/metrics.csv", text)
    assert read_losses(tmp_path, "train") == []


def test_what_is_heard_while_it_trains_comes_newest_first(tmp_path):
    put(tmp_path / "training_texts.json", {"texts": ["calm", "fast"]})
    for step in (9, 10):
        put(tmp_path / f"training/samples/step_{step}/prompt_0.flac")
    put(tmp_path / "training/samples/step_10/prompt_1.flac")
    found = [(sample.step, sample.text) for sample in read_training_samples(tmp_path)]
    assert found == [(10, "calm"), (10, "fast"), (9, "calm")]


def finished(run):
    put(run / "adapter/adapter.json", {})
    put(run / "report/index.html")
    put(run / "report/clips/a.flac")
    return run


def test_results_are_those_that_are_there(tmp_path):
    result = read_result(finished(tmp_path / "runs/mine"))
    assert result.label == "runs/mine" and result.model is None and result.transformers is None
    assert result.adapter == tmp_path / "runs/mine/adapter" and result.report is not None


def test_a_zip_holds_the_files_and_no_links(tmp_path):
    run = finished(tmp_path / "runs/mine")
    put(tmp_path / "secret")
    os.symlink(tmp_path / "secret", run / "report/secret")
    os.symlink(tmp_path, run / "report/folder")
    path = pack(run, "report", tmp_path / "out")
    with zipfile.ZipFile(path) as archive:
        assert sorted(archive.namelist()) == ["mine-report/clips/a.flac", "mine-report/index.html"]
    assert path.name == "mine-report.zip" and os.listdir(path.parent) == ["mine-report.zip"]
    with pytest.raises(UserError, match="no model"):
        pack(run, "model", tmp_path / "out")


def test_a_result_that_is_a_link_out_of_the_run_is_none(tmp_path):
    put(tmp_path / "secret/adapter.json", {})
    run = tmp_path / "runs/mine"
    run.mkdir(parents=True)
    os.symlink(tmp_path / "secret", run / "adapter")
    assert read_result(run).adapter is None
