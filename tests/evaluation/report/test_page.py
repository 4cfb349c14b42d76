import json
import re
from html import unescape
from pathlib import Path

import pytest

from musicgen_train.data.audio import read_audio
from musicgen_train.errors import UserError
from musicgen_train.evaluation.held_out import read_held_out
from musicgen_train.evaluation.model_evaluation import evaluate_model
from musicgen_train.evaluation.report.page import format_seconds, write_report
from musicgen_train.evaluation.report.plots import curve_panels
from musicgen_train.evaluation.report.training_runs import read_timings, run_logs
from musicgen_train.evaluation.sampling import Sampling
from musicgen_train.evaluation.stages import Stages
from tests.evaluation.small_evaluation import SECONDS, small_judge, small_parts, write_dataset


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("evaluation")
    held_out = read_held_out(write_dataset(folder / "data", 8), 4, SECONDS)
    evaluate_model(
        small_parts(),
        small_judge(),
        held_out,
        folder / "eval",
        SECONDS,
        Sampling(batch_size=4),
        {
            "note": "<script>",
            "judge_training": {"held_out": {"genre": {"accuracy": 0.9, "chance": 0.5}}},
        },
        Stages(),
    )
    return folder / "eval"


@pytest.fixture(scope="module")
def results(evaluated) -> dict:
    return json.loads((evaluated / "metrics.json").read_text())


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
        configs={"model": "dim: 16"},
        timings={"Corpus": 93.4},
        n_cards=2,
    )


def test_every_metric_has_its_scale_and_its_record(results):
    rows = {row["name"]: row for row in results["metrics"]}
    assert set(rows) == {
        "codec.mel_distance", "codec.si_sdr", "codec.usage", "codec.perplexity", "codec.bitrate",
        "lm.cross_entropy", "fad.judge.text", "fad.judge.melody", "fad.judge.round_trip",
        "kl.judge.text", "kl.judge.melody", "text.instrument", "text.genre",
        "text.instrument.with_melody", "text.genre.with_melody", "chroma.argmax", "chroma.cosine",
    }  # fmt: skip
    for name, row in rows.items():
        assert row["n_clips"] == (8 if name == "lm.cross_entropy" else 4)
        if name != "codec.bitrate":
            assert row["bad_end"] is not None and row["bad_end_is"] and row["settings"]
    assert rows["fad.judge.text"]["n_vectors"] == 4  # a clip of 2 s is one window
    assert rows["text.genre"]["others"]["chance"] == 0.5


def test_an_evaluation_repeats_to_the_last_digit(evaluated, results, tmp_path):
    held_out = read_held_out(evaluated.parent / "data", 4, SECONDS)
    args = (SECONDS, Sampling(batch_size=4), {}, Stages())
    rows = evaluate_model(small_parts(), small_judge(), held_out, tmp_path, *args)
    assert [row.to_json() for row in rows] == results["metrics"]


def test_a_model_without_melody_is_measured_without_it(tmp_path):
    held_out = read_held_out(write_dataset(tmp_path / "data", 4, with_chroma=False), 2, SECONDS)
    args = (SECONDS, Sampling(), {}, Stages())
    rows = evaluate_model(small_parts(), small_judge(), held_out, tmp_path / "eval", *args)
    names = {row.name for row in rows}
    assert "fad.judge.text" in names and not any("melody" in n or "chroma" in n for n in names)
    assert write_report(tmp_path / "eval", tmp_path / "report").is_file()


def test_every_clip_is_written_and_named(evaluated, results):
    assert len(results["clips"]) == 4
    for clip in results["clips"]:
        kinds = set(clip["audio"])
        assert kinds == {
            "reference",
            "reconstruction",
            "text",
            "melody_source",
            "melody",
            "untrained",
        }
        for relative in clip["audio"].values():
            wav, rate = read_audio(evaluated / "audio" / relative)
            assert (wav.shape, rate) == ((1, 16_000), 8000)


def test_everything_the_page_shows_is_beside_it_under_a_relative_path(page):
    text = page.read_text()
    linked = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert sum(link.endswith(".flac") for link in linked) == 2 * 6
    assert sum(link.endswith(".png") for link in linked) == 2 * 6 + 2 + 1
    for link in linked:
        assert not link.startswith(("/", "http")), link
        assert (page.parent / link).stat().st_size > 0


def test_the_page_states_metrics_configuration_and_times_and_escapes_text(page):
    text = unescape(page.read_text())
    for piece in (
        "FAD[judge]",
        "dim: 16",
        "max_steps: 20",
        "1 min 33 s",
        "Floor",
        "Ceiling",
        "genre 90% (chance 50%)",
    ):
        assert piece in text
    assert "<title>A small &lt;test&gt;</title>" in page.read_text()
    assert "<script>" not in page.read_text()


def test_a_second_report_leaves_no_clips_of_the_first(page, evaluated):
    stray = page.parent / "audio" / "stray.flac"
    stray.write_bytes(b"old")
    write_report(evaluated, page.parent, n_cards=1)
    assert not stray.exists()


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


def test_times_read_well():
    assert format_seconds(4.25) == "4.2 s" and format_seconds(185) == "3 min 5 s"
