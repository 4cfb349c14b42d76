import json
import math
import re
import subprocess
import sys
from html import unescape
from pathlib import Path

import numpy as np
import pytest
import soundfile
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.errors import UserError
from musicgen_train.evaluation.codec_evaluation import evaluate_codec
from musicgen_train.evaluation.codec_inputs import dataset_inputs, folder_inputs
from musicgen_train.evaluation.metrics.codec_metrics import bitrate
from musicgen_train.evaluation.report.page import write_report
from musicgen_train.evaluation.stages import Stages
from musicgen_train.formats import save_codec
from tests.evaluation.small_evaluation import RATE, SECONDS, small_parts, tune, write_dataset

ROOT = Path(__file__).parents[2]


def write_folder(folder: Path) -> Path:
    """Three tunes, one at another rate in stereo; a silent, a short and two broken files."""
    (folder / "deep").mkdir(parents=True)
    for i in range(2):
        soundfile.write(folder / "deep" / f"tune{i}.wav", tune(i)[0].numpy(), RATE)
    stereo = torch.cat([tune(3), tune(7)]).T.numpy()
    soundfile.write(folder / "stereo <b>.flac", stereo, 2 * RATE)
    soundfile.write(folder / "silent.wav", np.zeros(RATE), RATE)
    soundfile.write(folder / "short.wav", tune(5, 0.2)[0].numpy(), RATE)
    (folder / "broken.wav").write_bytes(b"no audio")
    (folder / "cut.wav").write_bytes((folder / "deep" / "tune0.wav").read_bytes()[:1000])
    return folder


@pytest.fixture(scope="module")
def codec() -> Encodec:
    codec = small_parts().codec
    wavs = torch.stack([tune(i) for i in range(4)])
    codec.quantizer.initialise(codec.encoder(wavs).transpose(1, 2).flatten(0, 1).detach())
    return codec.eval()


@pytest.fixture(scope="module")
def evaluated(codec, tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("codec")
    inputs = folder_inputs(codec, write_folder(root / "music"))
    evaluate_codec(codec, inputs, root / "eval", {"n": math.pi}, Stages(), n_cards=5)
    return root / "eval"


@pytest.fixture(scope="module")
def results(evaluated) -> dict:
    def refuse(name: str):
        raise AssertionError(f"{name} in metrics.json")

    return json.loads((evaluated / "metrics.json").read_text(), parse_constant=refuse)


def test_every_readable_file_has_a_row_worst_first(results):
    rows = results["files"]
    assert {row["name"] for row in rows} == {
        "deep/tune0.wav", "deep/tune1.wav", "stereo <b>.flac", "silent.wav", "short.wav"
    }  # fmt: skip
    nats = [row["mel_distance"] for row in rows]
    assert nats == sorted(nats, reverse=True)
    stereo = next(row for row in rows if row["name"].startswith("stereo"))
    assert stereo["duration"] == SECONDS / 2  # brought to the codec's rate, not played slower
    for row in rows:
        assert len(row["usage"]) == len(row["perplexity"]) == 2


def test_every_aggregate_is_the_mean_of_the_rows_that_have_a_value(results):
    rows = {row["name"]: row for row in results["metrics"]}
    for field in ("mel_distance", "stft_distance", "si_sdr", "loudness_difference"):
        values = [row[field] for row in results["files"] if row[field] is not None]
        found = rows[f"codec.{field}"]
        assert found["value"] == pytest.approx(np.mean(values))
        assert found["others"]["median"] == pytest.approx(np.median(values))
        assert found["interval"][0] <= found["value"] <= found["interval"][1]
        assert found["n_clips"] == len(values)
    assert rows["codec.mel_distance"]["n_clips"] == 5  # defined for silence, too
    assert rows["codec.si_sdr"]["n_clips"] == 4
    assert rows["codec.loudness_difference"]["n_clips"] == 3


def test_silence_and_shortness_are_null_counted_and_explained(results):
    rows = {row["name"]: row for row in results["files"]}
    assert rows["silent.wav"]["si_sdr"] is None and "silent" in rows["silent.wav"]["undefined"]
    assert rows["short.wav"]["si_sdr"] is not None
    assert rows["short.wav"]["undefined"] == "shorter than 0.4 s: no loudness"
    assert rows["deep/tune0.wav"]["undefined"] == ""
    faults = results["faults"]["original"]
    assert faults["n_clips"] == 5 and list(faults["unreadable"]) == ["broken.wav", "cut.wav"]
    assert (faults["silent"], faults["short"]) == (["silent.wav"], ["short.wav"])


def test_the_curve_ends_at_the_metrics_and_rates_are_within_the_nominal(results, codec):
    curve, rows = results["rate_distortion"], {row["name"]: row for row in results["metrics"]}
    assert [point["n_q"] for point in curve] == [1, 2]
    for point in curve:
        nominal = bitrate(point["n_q"], codec.card, codec.frame_rate)
        assert point["bitrate"] == nominal and 0 <= point["entropy_bitrate"] <= nominal
    assert curve[-1]["mel_distance"] == pytest.approx(rows["codec.mel_distance"]["value"])
    assert curve[-1]["entropy_bitrate"] == pytest.approx(rows["codec.entropy_bitrate"]["value"])
    bits = sum(row["entropy"] for row in results["codebooks"])
    assert bits * codec.frame_rate == pytest.approx(curve[-1]["entropy_bitrate"])


def test_the_codes_are_counted_over_all_files(evaluated, results, codec):
    counts = np.load(evaluated / "code_counts.npz", allow_pickle=False)["counts"]
    frames = [math.ceil(row["duration"] * codec.frame_rate) for row in results["files"]]
    assert counts.shape == (2, codec.card) and (counts.sum(1) == sum(frames)).all()


def test_an_evaluation_repeats_to_the_last_digit(evaluated, results, codec, tmp_path):
    inputs = folder_inputs(codec, evaluated.parent / "music")
    again = evaluate_codec(codec, inputs, tmp_path, {}, Stages())
    assert [row.to_json() for row in again] == results["metrics"]


def test_the_page_shows_players_plots_and_every_file(evaluated, results):
    page = write_report(evaluated, evaluated / "report", title="A codec", n_cards=5)
    text = page.read_text()
    linked = re.findall(r'(?:src|href)="([^"#]+)"', text)
    assert sum(link.endswith(".flac") for link in linked) == 2 * 5
    assert {"plots/rate_distortion.png", "plots/codebooks.png"} <= set(linked)
    for link in linked:
        assert not link.startswith(("/", "http")) and (page.parent / link).stat().st_size > 0
    assert "<b>" not in text  # names of files are no markup
    shown = unescape(text)
    for row in results["files"]:
        assert row["name"] in shown
    for piece in ("shorter than 0.4 s", "2 unreadable, left out: broken.wav (", "0.2 s",
                  "Entropy bitrate"):  # fmt: skip
        assert piece in shown
    assert "“Judge”" not in shown and "few codes" not in shown


def test_few_codes_for_so_many_entries_are_said(tmp_path):
    torch.manual_seed(0)
    codec = Encodec(**{**small_parts().codec.config, "card": 64}).eval()
    inputs = dataset_inputs(codec, write_dataset(tmp_path / "data", 2), 2, SECONDS, ["test"])
    evaluate_codec(codec, inputs, tmp_path / "eval", {}, Stages(), n_cards=0)
    page = write_report(tmp_path / "eval", tmp_path / "report").read_text()
    assert "200 codes of each codebook, 64 entries" in page and "These are few codes" in page


def test_held_out_segments_are_dealt_one_a_track_in_turn(tmp_path, codec):
    inputs = dataset_inputs(codec, write_dataset(tmp_path / "data", 5), 3, SECONDS, ["test"])
    assert len({clip.track for clip in inputs.clips}) == len(inputs.clips) == 3
    assert inputs.clips[0].read().shape == (1, round(SECONDS * RATE))


def test_a_dataset_that_does_not_fit_is_refused_with_both_values(tmp_path, codec):
    data = write_dataset(tmp_path / "data", 2)
    other = small_parts(sample_rate=16_000).codec
    with pytest.raises(UserError, match=r"at 8000 Hz, the codec takes 1 at 16000 Hz; prepare"):
        dataset_inputs(other, data, 2, SECONDS, ["test"])
    with pytest.raises(UserError, match="no segment of 9 s in test; lower duration"):
        dataset_inputs(codec, data, 2, 9.0, ["test"])


def test_a_folder_of_nothing_readable_is_refused(tmp_path, codec):
    (tmp_path / "music").mkdir()
    with pytest.raises(UserError, match="no audio in"):
        folder_inputs(codec, tmp_path / "music")
    (tmp_path / "music" / "a.wav").write_bytes(b"no audio")
    inputs = folder_inputs(codec, tmp_path / "music")
    with pytest.raises(UserError, match="none of the 1 audio files can be read"):
        evaluate_codec(codec, inputs, tmp_path / "eval", {}, Stages())
    assert not (tmp_path / "eval").exists()


def run(*overrides: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "evaluate.py", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def test_the_command_measures_a_codec_on_a_dataset(tmp_path, codec):
    save_codec(codec, tmp_path / "codec")
    data = write_dataset(tmp_path / "data", 3)
    done = run(f"ckpt={tmp_path}/codec", f"dataset={data}", f"output_dir={tmp_path}/out",
               f"duration={SECONDS}", "n_clips=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "Rate and distortion" in done.stdout and "Codebooks" in done.stdout
    assert done.stdout.splitlines()[-1] == f"report: {tmp_path}/out/report/index.html"
    metrics = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert metrics["subtitle"].startswith("2 segments of 2 s from the test split")
    assert metrics["settings"]["codec_identity"] == codec.identity()


def test_the_command_measures_a_codec_on_a_folder(tmp_path, codec):
    save_codec(codec, tmp_path / "codec")
    music = write_folder(tmp_path / "music")
    done = run(f"ckpt={tmp_path}/codec", f"reference={music}", f"output_dir={tmp_path}/out",
               "report=false")  # fmt: skip
    assert done.returncode == 0, done.stderr
    said = " ".join(done.stdout.split())
    assert "2 unreadable, left out: broken.wav (" in said and "cut.wav (" in said
    assert (tmp_path / "out" / "metrics.json").is_file()


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["ckpt=codec_tiny", "reference=ABSENT"], "no such folder: reference=ABSENT"),
        (["ckpt=codec_tiny", "dataset=DATA", "reference=DATA"], "give either ckpt=MODEL"),
        (
            ["ckpt=codec_tiny", "dataset=DATA", "n_clips=0"],
            "n_clips 0: give a whole number",
        ),
        (["ckpt=codec_tiny", "reference=DATA", "output_dir=DATA/out"], "lies in reference="),
    ],
)
def test_a_mistake_is_one_line_and_leaves_nothing(tmp_path, overrides, said):
    data = write_dataset(tmp_path / "data", 2)

    def placed(text: str) -> str:
        return text.replace("DATA", str(data)).replace("ABSENT", str(tmp_path / "absent"))

    done = run(f"output_dir={tmp_path}/out", *map(placed, overrides))
    assert done.returncode == 2
    assert done.stderr.count("\n") == 1 and done.stderr.startswith("error: ")
    assert placed(said) in done.stderr
    assert not (tmp_path / "out").exists() and not (data / "out").exists()
