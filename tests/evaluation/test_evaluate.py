import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, write_clip
from musicgen_train.evaluation.embedders.judge import save_judge
from musicgen_train.evaluation.folder_evaluation import evaluate_folders
from musicgen_train.evaluation.held_out import read_held_out
from musicgen_train.evaluation.model_evaluation import check_fit
from musicgen_train.evaluation.stages import Stages
from tests.evaluation.small_evaluation import SECONDS, small_judge, small_parts, tune, write_dataset

ROOT = Path(__file__).parents[2]


def run(*overrides: str) -> subprocess.CompletedProcess:
    command = [sys.executable, "evaluate.py", *overrides]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=120)


def write_folder(folder: Path, notes: range) -> Path:
    for i in notes:
        write_clip(folder / f"{i:02d}.flac", Clip(str(i), tune(i, 5.0), 8000))
    return folder


def measured(tmp_path: Path, generated: Path, reference: Path) -> dict:
    rows = evaluate_folders(small_judge(), generated, reference, tmp_path / "out", {}, Stages())
    return {row.name: row for row in rows}


def test_a_folder_against_itself_is_at_distance_zero(tmp_path):
    folder = write_folder(tmp_path / "music", range(6))
    rows = measured(tmp_path, folder, folder)
    assert rows["fad.judge"].value == pytest.approx(0, abs=1e-4)
    assert rows["kl.judge"].value == pytest.approx(0, abs=1e-9)
    assert rows["kl.judge"].bad_end > 0 and rows["fad.judge"].n_vectors == 12


def test_other_music_is_further_away_than_the_same_music(tmp_path):
    reference = write_folder(tmp_path / "reference", range(0, 12, 2))
    near = measured(tmp_path, write_folder(tmp_path / "near", range(1, 12, 2)), reference)
    far = measured(tmp_path, write_folder(tmp_path / "far", range(40, 46)), reference)
    assert near["fad.judge"].value < far["fad.judge"].value
    assert "kl.judge" not in near  # no file has the name of a reference


def test_faults_of_a_folder_are_in_the_record(tmp_path):
    folder = write_folder(tmp_path / "music", range(4))
    shutil.copytree(folder, tmp_path / "broken")
    (tmp_path / "broken" / "zz.wav").write_bytes(b"no audio")
    write_clip(tmp_path / "broken" / "silent.flac", Clip("silent", 0 * tune(0), 8000))
    measured(tmp_path, tmp_path / "broken", folder)
    faults = json.loads((tmp_path / "out" / "metrics.json").read_text())["faults"]
    assert faults["generated"]["unreadable"] == ["zz.wav"]
    assert faults["generated"]["silent"] == 1 and faults["generated"]["n_clips"] == 5


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


def test_half_a_request_is_refused_before_anything_is_loaded(tmp_path):
    result = run(f"ckpt={tmp_path}", f"output_dir={tmp_path}/o")
    assert result.returncode == 2
    assert "give either ckpt=MODEL dataset=DATASET" in result.stderr


def test_the_command_measures_a_model_and_says_where_the_report_is(tmp_path):
    from musicgen_train.formats import save_musicgen
    from musicgen_train.musicgen import MusicGen

    parts = small_parts()
    model = MusicGen("small", parts.codec, parts.lm, parts.text_encoder, parts.chroma, SECONDS)
    save_musicgen(model, tmp_path / "model")
    save_judge(small_judge(), tmp_path / "judge", {"held_out": {}})
    data = write_dataset(tmp_path / "data", 4)
    result = run(
        f"ckpt={tmp_path / 'model'}", f"dataset={data}", f"output_dir={tmp_path / 'out'}",
        f"judge={tmp_path / 'judge'}", "n_clips=2", f"duration={SECONDS}",
    )  # fmt: skip
    assert result.returncode == 0, result.stderr
    assert (tmp_path / "out" / "report" / "index.html").is_file()
    assert "FAD[judge]" in result.stdout
    assert result.stdout.splitlines()[-1].startswith("report: ")
