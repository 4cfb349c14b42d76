import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import hydra
import numpy as np
import pytest
import soundfile

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, clip_files, write_clip
from musicgen_train.evaluation.comparison import Prompt
from musicgen_train.evaluation.embedders.judge import save_judge
from musicgen_train.evaluation.folder_evaluation import evaluate_folders
from musicgen_train.evaluation.held_out import read_held_out
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.model_evaluation import check_fit
from musicgen_train.formats import save_musicgen
from musicgen_train.musicgen import MusicGen
from tests.evaluation.small_evaluation import (
    RATE,
    SECONDS,
    small_evaluation,
    small_judge,
    small_parts,
    tune,
    write_dataset,
)

ROOT = Path(__file__).parents[2]
LONG = ("long_duration=20", "long_clips=2")
FOLDER_METRICS = ("fad", "kad", "coverage", "kl", "chroma")


def run(*overrides: str, **env: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "evaluate.py", *overrides]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, timeout=120, env={**os.environ, **env}
    )


def write_folder(folder: Path, notes: range) -> Path:
    for i in notes:
        write_clip(folder / f"{i:02d}.flac", Clip(str(i), tune(i, 5.0), 8000))
    return folder


def measured(tmp_path: Path, generated: Path, reference: Path) -> dict[str, Measurement]:
    evaluation = small_evaluation(tmp_path / "out", metrics=FOLDER_METRICS)
    evaluation.output_dir.mkdir(exist_ok=True)
    ours = clip_files(generated)
    prompts = {file.name: Prompt("a note") for file in ours}
    rows = evaluate_folders(ours, reference, prompts, evaluation)
    return {row.name: row for row in rows}


def test_a_folder_against_itself_is_at_distance_zero(tmp_path):
    folder = write_folder(tmp_path / "music", range(8))
    rows = measured(tmp_path, folder, folder)
    assert rows["fad.judge"].value == pytest.approx(0, abs=1e-6)
    assert rows["kl.judge"].value == pytest.approx(0, abs=1e-9)
    assert rows["kl.judge"].bad_end > 0 and rows["fad.judge"].n_vectors == 16
    assert rows["chroma.argmax"].value == 1.0 and rows["coverage.judge"].value == 1.0
    assert rows["kad.judge"].others["over all pairs of windows, as kadtk"] < 0


def test_other_music_is_further_away_than_the_same_music(tmp_path):
    reference = write_folder(tmp_path / "reference", range(0, 12, 2))
    near = measured(tmp_path, write_folder(tmp_path / "near", range(1, 12, 2)), reference)
    far = measured(tmp_path, write_folder(tmp_path / "far", range(40, 46)), reference)
    assert near["fad.judge"].value < far["fad.judge"].value
    assert near["kad.judge"].value < far["kad.judge"].value


def test_too_few_clips_are_a_warning_in_the_record(tmp_path):
    folder = write_folder(tmp_path / "music", range(4))
    rows = measured(tmp_path, folder, folder)
    assert any("fewer than 1000" in warning for warning in rows["fad.judge"].warnings)
    assert any("no FAD∞: 4 clips" in warning for warning in rows["fad.judge"].warnings)
    assert any("4 clips: fewer than 30" in warning for warning in rows["kl.judge"].warnings)
    assert rows["coverage.judge"].warnings == ("5 clips or fewer",)
    stored = json.loads((tmp_path / "out" / "metrics.json").read_text())["metrics"]
    assert [row["warnings"] for row in stored] == [list(row.warnings) for row in rows.values()]


def test_odd_clips_are_named_and_none_is_dropped_or_taken_for_another(tmp_path):
    real = write_folder(tmp_path / "real", range(8))
    odd = tmp_path / "odd"
    shutil.copytree(real, odd)
    (odd / "07.flac").unlink()
    (odd / "corrupt.wav").write_bytes(b"no audio")
    (odd / "cut.flac").write_bytes((real / "00.flac").read_bytes()[:5000])
    whole = tune(1, 5.0)
    soundfile.write(odd / "nan.wav", np.full((RATE, 1), np.nan, np.float32), RATE, subtype="FLOAT")
    write_clip(odd / "silent.flac", Clip("", 0 * whole, RATE))
    write_clip(odd / "short.flac", Clip("", whole[:, : RATE // 10], RATE))
    write_clip(odd / "long.flac", Clip("", tune(2, 61.0), RATE))
    write_clip(odd / "stereo.flac", Clip("", whole.expand(2, -1), RATE))
    write_clip(odd / "rate.flac", Clip("", whole, 22_050))
    write_clip(odd / "eight.flac", Clip("", whole.expand(8, -1), RATE))
    rows = measured(tmp_path, odd, real)
    results = json.loads((tmp_path / "out" / "metrics.json").read_text())
    faults = results["faults"]["generated"]
    assert set(faults["unreadable"]) == {"corrupt", "cut"}
    assert faults["non_finite"] == ["nan"]
    assert all(faults["unreadable"].values())
    assert (faults["silent"], faults["short"], faults["long"]) == (["silent"], ["short"], ["long"])
    assert faults["odd_ones"] == {
        "8000 Hz, 2 channels": ["stereo"], "22050 Hz, 1 channel": ["rate"],
        "8000 Hz, 8 channels": ["eight"],
    }  # fmt: skip
    assert faults["n_clips"] == 14 and rows["fad.judge"].n_clips == 14
    assert set(rows["fad.judge"].settings["dropped"]) == {"corrupt", "cut"}
    assert rows["kl.judge"].n_clips == 7
    assert set(rows["kl.judge"].settings["dropped"]) == {
        "silent", "short", "long", "stereo", "rate", "nan", "eight", "07"
    }  # fmt: skip
    assert rows["kl.judge"].value == pytest.approx(0, abs=1e-9)  # each with its own partner


def test_a_folder_of_nothing_readable_is_one_clear_line(tmp_path):
    real = write_folder(tmp_path / "real", range(4))
    (tmp_path / "bad").mkdir()
    (tmp_path / "bad" / "00.wav").write_bytes(b"no audio")
    with pytest.raises(UserError, match="generated: none of 1 clips can be read"):
        measured(tmp_path, tmp_path / "bad", real)


def test_music_that_does_not_fit_the_model_is_refused_with_both_values(tmp_path):
    held_out = read_held_out(write_dataset(tmp_path / "data"), 3, SECONDS)
    with pytest.raises(UserError, match=r"at 8000 Hz, .* takes 1 at 16000 Hz"):
        check_fit(small_parts(sample_rate=16_000), held_out, "data")
    other = held_out._replace(chroma={"n_chroma": 12, "window": 2048, "hop": 512})
    with pytest.raises(UserError, match="hop=512, the model takes hop=1024"):
        check_fit(small_parts(), other, "data")
    check_fit(small_parts(), held_out, "data")


def test_bad_input_is_one_clear_line(tmp_path):
    absent = tmp_path / "absent"
    result = run(f"generated={absent}", f"reference={tmp_path}", f"output_dir={tmp_path}/o")
    assert result.returncode == 2
    assert result.stderr == f"error: no such folder: generated={absent}; check the path\n"
    assert not (tmp_path / "o").exists()


def test_more_processes_than_the_machine_has_cores_are_refused(tmp_path):
    folder = write_folder(tmp_path / "music", range(2))
    result = run(
        f"generated={folder}", f"reference={folder}", f"output_dir={tmp_path}/o", "devices=5000",
        "accelerator=cpu",
    )  # fmt: skip
    assert result.returncode == 2
    assert re.match(r"error: devices=5000: this machine has \d+ cores; take no more", result.stderr)


def test_processes_that_do_not_know_of_each_other_are_refused(tmp_path):
    folder = write_folder(tmp_path / "music", range(2))
    result = run(f"generated={folder}", f"reference={folder}", f"output_dir={tmp_path}/o",
                 WORLD_SIZE="2")  # fmt: skip
    assert result.returncode == 2
    assert result.stderr.startswith("error: 2 processes were started for devices=1 num_nodes=1")


def test_one_folder_holds_one_evaluation_of_whatever_kind(tmp_path):
    one, two = (write_folder(tmp_path / name, range(4)) for name in ("one", "two"))
    (tmp_path / "one" / "bad.wav").write_bytes(b"no audio")
    common = ["protocol=judge", "metrics=[fad]", "report=false", f"output_dir={tmp_path}/o",
              f"cache_dir={tmp_path}/heard"]  # fmt: skip
    first = run(f"generated={one}", f"reference={two}", *common)
    assert first.returncode == 0, first.stderr
    assert "1 unreadable, left out: bad" in " ".join(first.stdout.split())
    before = (tmp_path / "o" / "metrics.json").read_bytes()
    second = run(f"generated={two}", f"reference={one}", *common)
    assert second.returncode == 2 and "holds another evaluation (generated: " in second.stderr
    assert (tmp_path / "o" / "metrics.json").read_bytes() == before


def test_half_a_request_is_refused_before_anything_is_loaded(tmp_path):
    result = run(f"ckpt={tmp_path}", f"output_dir={tmp_path}/o")
    assert result.returncode == 2
    assert "give either ckpt=MODEL dataset=DATASET" in result.stderr


def test_missing_weights_are_named_with_their_address_before_anything_is_heard(tmp_path):
    folder = write_folder(tmp_path / "music", range(3))
    result = run(
        f"generated={folder}", f"reference={folder}", f"output_dir={tmp_path}/o", "metrics=[fad]",
        "embedders=[vggish]", XDG_CACHE_HOME=str(tmp_path / "cache"),
    )  # fmt: skip
    assert result.returncode == 2
    for told in ("vggish-10086976.pth", "https://", "10086976", "weights.vggish=PATH"):
        assert told in result.stderr
    assert len(result.stderr.splitlines()) == 1 and not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("override", "told"),
    [
        ("metrics=[fad,fid]", "unknown name 'fid' in metrics: choose of fad, kad"),
        ("embedders=[resnet]", "unknown name 'resnet' in embedders: choose of vggish"),
        ("metrics=fad", "metrics=fad: give a list like [fad,kad]"),
        ("devices=0", "devices 0: give a whole number from 1 on"),
        ("duration=nan", "duration nan"),
        ("sampling.top_k=abc", "top_k 'abc': give a whole number"),
        ("sampling.temperature=-1", "temperature -1"),
        ("sampling.cfg_coef=null", "cfg_coef None"),
        ("sampling.seed=1.5", "seeds [1.5]: give whole numbers"),
        ("sampling.loudness=20", "sampling.loudness 20: give LUFS"),
        ("+sampling.foo=1", "sampling={"),
        ("n_cards=-1", "n_cards -1: give a whole number"),
        ("splits=[]", "splits=[]: give a list of train, valid, test"),
        ("num_threads=x", "num_threads 'x'"),
        ("metrics=[]", "metrics=[]: give a list"),
        ("weights=foo", "weights='foo': give {name: path}"),
        ("check_weights=maybe", "check_weights=maybe: give true or false"),
        ("protocol.compat=true", "protocol.compat=True: give false, or true beside"),
        (f"cache_dir={ROOT}/README.md/x", "README.md is no folder; name another place"),
        (f"output_dir={ROOT}/README.md", "README.md is no folder; name another place"),
        ("accelerator=abacus", "accelerator=abacus: choose of auto, cpu"),
        ("long_clips=1", "long_clips 1: give a whole number from 2 on"),
        ("long_duration=60", "long_duration needs ckpt=MODEL dataset=DATASET"),
        ("n_clips=1", "n_clips 1: give a whole number from 2 on"),
        ("sampling.batch_size=0", "sampling.batch_size 0: give a whole number from 1 on"),
    ],
)
def test_what_nobody_knows_is_refused_in_one_line_before_anything_is_loaded(
    tmp_path, override, told
):
    import evaluate

    given = [f"generated={tmp_path}", f"reference={tmp_path}", "output_dir=/o", "protocol=judge"]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("evaluate", [*given, override])
    with pytest.raises(UserError) as caught:
        evaluate.check_request(cfg)
    assert told in str(caught.value) and "\n" not in str(caught.value)


def test_metrics_that_were_asked_for_and_cannot_be_had_are_refused_with_the_reason(tmp_path):
    folder = write_folder(tmp_path / "music", range(3))
    result = run(
        f"generated={folder}", f"reference={folder}", f"output_dir={tmp_path}/o", "protocol=judge",
        "metrics=[fad,clap]",
    )  # fmt: skip
    assert result.returncode == 2
    assert result.stderr == "error: metrics names clap, which needs texts: give texts=FILE\n"


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    """A model, a dataset and a judge, as the command takes them."""
    root = tmp_path_factory.mktemp("model")
    parts = small_parts()
    model = MusicGen("small", parts.codec, parts.lm, parts.text_encoder, parts.chroma, SECONDS)
    save_musicgen(model, root / "model")
    save_judge(small_judge(), root / "judge", {"held_out": {}})
    write_dataset(root / "data", 8)
    return root


def of_model(root: Path, output_dir: Path, *more: str) -> list[str]:
    return [
        f"ckpt={root / 'model'}", f"dataset={root / 'data'}", f"output_dir={output_dir}",
        f"weights.judge={root / 'judge'}", "protocol=judge", "n_clips=4", f"duration={SECONDS}",
        "sampling.batch_size=2", f"cache_dir={output_dir.parent / 'heard'}", "num_threads=1", *more,
    ]  # fmt: skip


def test_the_command_measures_a_model_and_says_where_the_report_is(model, tmp_path):
    result = run(*of_model(model, tmp_path / "out"))
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "report" / "index.html").is_file()
    assert "FAD judge, from text" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("report: ")


def test_two_ranks_give_the_very_metrics_of_one(model, tmp_path):
    for count in (1, 2):
        out = tmp_path / str(count) / "out"
        more = (f"devices={count}", "accelerator=cpu", "report=false", *LONG)
        result = run(*of_model(model, out, *more))
        assert result.returncode == 0, result.stderr
    one, two = ((tmp_path / n / "out" / "metrics.json").read_text() for n in "12")
    assert one == two


def test_another_evaluation_in_the_same_folder_is_refused_and_the_same_goes_on(model, tmp_path):
    out = tmp_path / "out"
    assert run(*of_model(model, out, "report=false")).returncode == 0
    clips = {path: path.stat().st_mtime_ns for path in out.rglob("audio/text/*.flac")}
    other = run(*of_model(model, out, "sampling.seed=5", "report=false"))
    assert other.returncode == 2
    assert "holds another evaluation (seed: 0, now 5)" in other.stderr
    again = run(*of_model(model, out, "metrics=[kl]", "report=false"))
    assert again.returncode == 0, again.stderr
    assert len(clips) == 4
    assert clips == {path: path.stat().st_mtime_ns for path in out.rglob("audio/text/*.flac")}


def test_a_model_is_measured_on_texts_and_melodies_of_the_users(model, tmp_path):
    reference = write_folder(tmp_path / "real", range(6))
    (tmp_path / "texts.json").write_text(json.dumps({f"{i:02d}": f"note {i}" for i in range(4)}))
    result = run(
        f"ckpt={model / 'model'}", f"texts={tmp_path / 'texts.json'}", f"reference={reference}",
        f"melodies={reference}", f"output_dir={tmp_path / 'out'}", "protocol=judge",
        f"weights.judge={model / 'judge'}", f"duration={SECONDS}", "sampling.loudness=-20",
        f"cache_dir={tmp_path / 'heard'}", "num_threads=1", "report=false",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "metrics.json").read_text())
    assert {row["name"] for row in results["metrics"]} == {
        "fad.judge", "kad.judge", "coverage.judge", "kl.judge", "chroma.argmax", "chroma.cosine",
        "failures.clips", "failures.loudness",
    }  # fmt: skip
    assert set(results["settings"]["not_measured"]) == {"text"}
    loudness = [clip["facts"]["generated"]["loudness"] for clip in results["clips"]]
    assert loudness == pytest.approx([-20.0] * 4, abs=0.2)
    assert [clip["description"] for clip in results["clips"]] == [f"note {i}" for i in range(4)]


def test_what_rows_of_texts_ask_for_is_heard_in_what_a_model_makes_of_them(model, tmp_path):
    reference = write_folder(tmp_path / "real", range(3))
    lines = ["name,instrument,genre,bpm,text", "a,piano,jazz,90,one", "b,flute,,,fast two"]
    lines += ["c,kazoo,folk,,three"]
    (tmp_path / "texts.csv").write_text("\n".join(lines))
    result = run(
        f"ckpt={model / 'model'}", f"texts={tmp_path / 'texts.csv'}", f"reference={reference}",
        f"output_dir={tmp_path / 'out'}", "protocol=judge", f"weights.judge={model / 'judge'}",
        "metrics=[text]", f"duration={SECONDS}", f"cache_dir={tmp_path / 'heard'}",
        "num_threads=1", "report=false",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    results = json.loads((tmp_path / "out" / "metrics.json").read_text())
    found = {row["name"]: row["n_clips"] for row in results["metrics"]}
    assert found == {"text.control": 3, "text.instrument": 2, "text.genre": 2, "text.tempo": 2}
    assert results["clips"][0]["wanted"] == {
        "instrument": "piano", "genre": "jazz", "tempo": "90 bpm"
    }  # fmt: skip
    assert results["clips"][1]["wanted"]["tempo"] == "fast"


@pytest.mark.parametrize("duration, told", [("5", "long_duration 5 s: give 20 to 600 s, or null"),
                                            ("25", "no more than the 30 s that")])  # fmt: skip
def test_a_piece_that_is_too_short_to_be_long_is_refused(tmp_path, duration, told):
    import evaluate

    given = [
        f"ckpt={tmp_path}",
        f"dataset={tmp_path}",
        "output_dir=/o",
        f"long_duration={duration}",
    ]
    with hydra.initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        cfg = hydra.compose("evaluate", given)
    with pytest.raises(UserError) as caught:
        evaluate.check_request(cfg)
        evaluate.read_long_form(cfg, 30.0)
    assert told in str(caught.value) and "\n" not in str(caught.value)
