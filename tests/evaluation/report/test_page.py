import json
import math
import re
import shutil
from html import unescape
from pathlib import Path
from urllib.parse import unquote

import pytest
import torch

from musicgen_train.data.audio import read_audio
from musicgen_train.errors import UserError
from musicgen_train.evaluation.held_out import read_held_out
from musicgen_train.evaluation.model_evaluation import evaluate_model
from musicgen_train.evaluation.report.page import write_report
from musicgen_train.evaluation.report.plots import brightest, curve_panels
from musicgen_train.evaluation.report.results import read_results
from musicgen_train.evaluation.report.training_runs import read_timings, run_logs
from musicgen_train.evaluation.sampling import Sampling
from tests.evaluation.report.small_runs import clip, measured, write_run
from tests.evaluation.small_evaluation import (
    SECONDS,
    small_evaluation,
    small_parts,
    write_dataset,
)

KINDS = ("reference", "reconstruction", "text", "melody_source", "melody", "untrained")


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    held_out = read_held_out(write_dataset(folder / "data", 8), 4, SECONDS)
    settings = {
        "note": "<script>",
        "judge_training": {"held_out": {"genre": {"accuracy": 0.9, "chance": 0.5}}},
    }
    evaluation = small_evaluation(folder / "eval", settings)
    evaluate_model(small_parts(), held_out, SECONDS, Sampling(batch_size=4), evaluation)
    return folder / "eval"


def write_log(path: Path) -> Path:
    path.write_text(
        "step,train/ce,valid/ce,lr\n0,7.0,,0.1\n10,6.0,,0.1\n10,,6.5,\n20,5.0,nan,0.1\n"
    )
    return path


@pytest.fixture(scope="module")
def page(evaluated, tmp_path_factory) -> Path:
    run = tmp_path_factory.mktemp("run")
    write_log(run / "metrics.csv")
    (run / "config.yaml").write_text("max_steps: 20")
    return write_report(
        evaluated,
        evaluated.parent / "report",
        title="A small <test>",
        curves=[("Language model", run)],
        timings={"Corpus": 93.4},
        n_cards=2,
    )


def test_every_metric_has_its_scale_and_its_record(evaluated):
    rows = {row["name"]: row for row in read_results(evaluated)["metrics"]}
    distances = {f"{m}.judge.{s}" for m in ("fad", "kad", "coverage")
                 for s in ("text", "melody", "round_trip")}  # fmt: skip
    assert set(rows) == distances | {
        "codec.mel_distance", "codec.si_sdr", "codec.usage", "codec.perplexity", "codec.bitrate",
        "lm.cross_entropy", "kl.judge.text", "kl.judge.melody", "text.instrument", "text.genre",
        "text.instrument.with_melody", "text.genre.with_melody", "chroma.argmax", "chroma.cosine",
        "text.control", "text.control_of_real", "text.control.with_melody",
        "text.control_of_real.with_melody", "failures.clips.text", "failures.clips.melody",
        "failures.loudness.text", "failures.loudness.melody",
    }  # fmt: skip
    for name, row in rows.items():
        assert row["n_clips"] == (8 if name == "lm.cross_entropy" else 4)
        without = name == "codec.bitrate" or name.startswith("failures.")  # a ceiling
        if not without and row["value"] is not None:
            assert row["bad_end"] is not None and row["bad_end_is"] and row["settings"]
    assert rows["fad.judge.text"]["n_vectors"] == 4  # a clip of 2 s is one window
    assert rows["text.genre"]["others"]["chance"] == 0.5


def test_an_evaluation_repeats_to_the_last_digit(evaluated, tmp_path):
    held_out = read_held_out(evaluated.parent / "data", 4, SECONDS)
    evaluation = small_evaluation(tmp_path / "eval")
    rows = evaluate_model(small_parts(), held_out, SECONDS, Sampling(batch_size=4), evaluation)
    again = json.loads(json.dumps([row.to_json() for row in rows]))
    assert again == read_results(evaluated)["metrics"]


def test_a_model_without_melody_is_measured_without_it(tmp_path):
    held_out = read_held_out(write_dataset(tmp_path / "data", 4, with_chroma=False), 2, SECONDS)
    metrics = ("fad", "kl", "text")
    evaluation = small_evaluation(tmp_path / "eval", metrics=metrics)
    rows = evaluate_model(small_parts(), held_out, SECONDS, Sampling(), evaluation)
    names = {row.name for row in rows}
    assert "fad.judge.text" in names and not any("melody" in n or "chroma" in n for n in names)
    assert write_report(tmp_path / "eval", tmp_path / "report").is_file()


def test_every_clip_is_written_and_named(evaluated):
    clips = read_results(evaluated)["clips"]
    assert len(clips) == 4
    for entry in clips:
        assert set(entry["audio"]) == set(KINDS)
        for place in entry["audio"].values():
            wav, rate = read_audio(evaluated / place)
            assert (wav.shape, rate) == ((1, 16_000), 8000)


def links(page: Path) -> list[str]:
    return re.findall(r'(?:src|href)="([^"#]+)"', page.read_text())


def test_everything_the_page_shows_is_beside_it_under_a_relative_path(page):
    found = links(page)
    sounds = {link for link in found if link.endswith(".flac")}
    assert {f"audio/{kind}/{key}.flac" for kind in KINDS for key in ("000", "001")} < sounds
    for link in found:
        assert not link.startswith(("/", "http")), link
        assert (page.parent / unquote(link)).stat().st_size > 0


def test_the_page_can_be_moved_without_the_evaluation(page, evaluated, tmp_path):
    moved = shutil.copytree(page.parent, tmp_path / "moved")
    text = (moved / "index.html").read_text()
    assert str(evaluated) not in text.replace(str(page.parent), "")
    assert all((moved / unquote(link)).is_file() for link in links(moved / "index.html"))


def test_the_page_states_metrics_configuration_and_times_and_escapes_text(page):
    text = unescape(page.read_text())
    for piece in (
        "FAD[judge]",
        "max_steps: 20",
        "1 min 33 s",
        "Floor",
        "Ceiling",
        "genre 90% (chance 50%)",
        "fewer than 30 tell little",
        "Student's t over tracks",
    ):
        assert piece in text
    source = page.read_text()
    assert "<title>A small &lt;test&gt;</title>" in source
    assert source.count("<script>") == 1 and "&lt;script&gt;" in source


def test_every_number_unfolds_to_its_record(page):
    text = page.read_text()
    records = re.findall(r'<dl class="record">(.*?)</dl>', text, re.S)
    assert len(records) == len(read_results(page.parent)["metrics"])
    assert any("KL(ref||gen)" in record for record in records)
    assert not any("{" in record for record in records)


def test_the_judge_is_explained_only_where_it_listened(evaluated, tmp_path):
    stored = json.loads((evaluated / "metrics.json").read_text())
    stored["metrics"] = [row for row in stored["metrics"] if row["name"].startswith("codec")]
    (tmp_path / "eval").mkdir()
    (tmp_path / "eval" / "metrics.json").write_text(json.dumps(stored | {"clips": []}))
    text = write_report(tmp_path / "eval", tmp_path / "report").read_text()
    assert "small tagger" not in text and "chance 50%" not in text


def test_every_clip_has_a_row_that_can_be_sorted_by_any_score(page):
    text = page.read_text()
    (table,) = re.findall(r'<table class="clips".*?</table>', text, re.S)
    heads = re.findall(r'<th[^>]*aria-sort="none"[^>]*><button type="button">', table)
    rows = re.findall(r"<tr><td class=.key.*?</tr>", table, re.S)
    assert len(rows) == 4
    scores = {name for clip in read_results(page.parent)["clips"] for name in clip["scores"]}
    never = {"fad.judge.text", "fad.judge.melody", "fad.judge.round_trip"}  # clips of one window
    assert len(heads) == 2 + len(scores - never)
    assert all(row.count("data-value=") == len(scores - never) for row in rows)


def test_clips_from_elsewhere_are_shown_and_a_missing_one_is_no_failure(tmp_path):
    clips = [clip(f"deep/{i}", {"kl.judge": float(i)}, "") for i in range(4)]
    folder = write_run(tmp_path / "eval", [measured("kl.judge", 1.5)], clips)
    (folder / "audio" / "generated" / "deep" / "0.wav").unlink()
    (folder / "audio" / "generated" / "deep" / "1.wav").write_bytes(b"damaged")
    page = write_report(folder, tmp_path / "report")
    text = page.read_text()
    assert "audio/generated/deep/2.wav" in text and "cannot be opened" in text
    assert "audio/generated/deep/1.wav" not in text


@pytest.mark.parametrize(
    "content, complaint",
    [
        ("{", "is damaged"),
        ("[]", "has format None, this version reads format 2"),
        ('{"format": 1}', "has format 1"),
        ('{"format": 2}', "lacks subtitle"),
    ],
)
def test_a_metrics_file_that_cannot_be_read_is_named(tmp_path, content, complaint):
    (tmp_path / "metrics.json").write_text(content)
    with pytest.raises(UserError, match=complaint):
        write_report(tmp_path, tmp_path / "report")


def test_a_second_report_leaves_no_clips_of_the_first(page, evaluated):
    stray = page.parent / "audio" / "stray.flac"
    stray.write_bytes(b"old")
    write_report(evaluated, page.parent, n_cards=1)
    assert not stray.exists()


def test_silence_is_drawn_black():
    silence = torch.full((80, 10), math.log(1e-5))
    assert brightest(silence) - 9.2 >= silence.max()


def test_training_and_validation_of_a_quantity_share_a_panel(tmp_path):
    panels = curve_panels([write_log(tmp_path / "metrics.csv")])
    assert panels == {"ce": {"train": [(0, 7.0), (10, 6.0), (20, 5.0)], "valid": [(10, 6.5)]}}


def test_a_resumed_run_is_one_curve_and_its_later_log_counts(tmp_path):
    for version, text in ((0, "0,7.0\n10,6.0"), (2, "10,5.5\n20,5.0"), (10, "20,4.0")):
        folder = tmp_path / "logs" / f"version_{version}"
        folder.mkdir(parents=True)
        (folder / "metrics.csv").write_text(f"step,train/ce\n{text}\n")
    panels = curve_panels(run_logs(tmp_path))
    assert panels == {"ce": {"train": [(0, 7.0), (10, 5.5), (20, 4.0)]}}


def test_a_run_without_a_log_and_a_wrong_file_of_times_are_named(tmp_path):
    with pytest.raises(UserError, match="no loss log"):
        run_logs(tmp_path)
    (tmp_path / "times").write_text("12\tCorpus\n3 minutes\n")
    with pytest.raises(UserError, match="times:2: expected `seconds<TAB>title`"):
        read_timings(tmp_path / "times")
    (tmp_path / "times").write_text("12\tCorpus\n3.5\tCodec\n3\tCorpus\n")
    assert read_timings(tmp_path / "times") == {"Corpus": 15, "Codec": 3.5}


def test_a_folder_that_was_not_evaluated_is_named(tmp_path):
    with pytest.raises(UserError, match=r"no metrics\.json in"):
        write_report(tmp_path, tmp_path / "report")
