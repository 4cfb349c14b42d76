import csv
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from musicgen_train.data.audio import read_audio
from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, write_clip
from musicgen_train.evaluation.embedders.judge import save_judge
from musicgen_train.evaluation.texts import read_texts
from musicgen_train.formats import save_musicgen
from musicgen_train.musicgen import MusicGen
from recipes.musiccaps import prepare
from tests.evaluation.small_evaluation import RATE, SECONDS, small_judge, small_parts, tune

ROOT = Path(__file__).parents[2]
COLUMNS = (
    "ytid", "start_s", "end_s", "audioset_positive_labels", "aspect_list", "caption", "author_id",
    "is_balanced_subset", "is_audioset_eval",
)  # fmt: skip
IDS = ("-0Gj8-vB1q4", "_a_b-c-d_e0", "AAAAAAAAAAA", "ZZZZZZZZZZZ")


def row(ytid: str, start: object = 30, end: object = 40, caption: str = "a note", **more: object):
    values = {"is_balanced_subset": False, "is_audioset_eval": True, "author_id": 4, **more}
    values = {"ytid": ytid, "start_s": start, "end_s": end, "caption": caption, **values}
    return [str(values.get(column, "")) for column in COLUMNS]


def table(path: Path, *rows: list[str], columns: tuple[str, ...] = COLUMNS) -> Path:
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])
    return path


def sound(path: Path, note: int = 0, seconds: float = 10.0) -> Path:
    write_clip(path, Clip(path.stem, tune(note, seconds), RATE))
    return path


def test_a_row_becomes_a_clip_and_a_text_of_one_name(tmp_path):
    rows = [row(ytid, caption=f"note\n{i}, held") for i, ytid in enumerate(IDS)]
    for i, ytid in enumerate(IDS):
        sound(tmp_path / "audio" / f"{ytid}.flac", i)
    manifest = prepare(table(tmp_path / "t.csv", *rows), tmp_path / "audio", tmp_path / "out")
    assert (manifest["rows"], manifest["clips"], manifest["left_out"]) == (4, 4, {})
    assert manifest["kinds"] == {f"{RATE} Hz, 1 channel": 4} and manifest["short"] == {}
    texts = read_texts(tmp_path / "out" / "texts.json")
    assert texts == {f"{ytid}_30": f"note {i}, held" for i, ytid in enumerate(IDS)}
    for i, name in enumerate(texts):
        wav, rate = read_audio(tmp_path / "out" / "clips" / f"{name}.flac")
        assert rate == RATE
        assert torch.equal(wav, read_audio(tmp_path / "audio" / f"{IDS[i]}.flac")[0])


@pytest.mark.parametrize(
    "name",
    [
        "{}", "Y{}", "A title, 1984 [{}]", "{}_30", "{}_30.000", "{}_30000", "{}_30000_40000",
        "[{}]-[30-40]", "{}_30.0_40.0", "set_{}_30_40", "some/folder/{}",
    ],
)  # fmt: skip
def test_the_usual_names_of_audio_files_are_understood(tmp_path, name):
    for i, ytid in enumerate(IDS[:2]):
        sound(tmp_path / "audio" / f"{name.format(ytid)}.flac", i)
    rows = [row(ytid) for ytid in IDS[:2]]
    manifest = prepare(table(tmp_path / "t.csv", *rows), tmp_path / "audio", tmp_path / "out")
    assert set(manifest["sources"]) == {f"{ytid}_30" for ytid in IDS[:2]}


def test_of_a_whole_track_the_clip_is_cut_where_the_row_says(tmp_path):
    seconds = torch.arange(45 * RATE) // RATE
    write_clip(tmp_path / "audio" / f"{IDS[0]}.flac", Clip("", seconds[None] / 64, RATE))
    rows = [row(IDS[0], 30, 40), row(IDS[0], 5, 15), row(IDS[0], 37, 47), row(IDS[0], 44, 54)]
    manifest = prepare(table(tmp_path / "t.csv", *rows), tmp_path / "audio", tmp_path / "out")
    for start in (30, 5):
        wav, _ = read_audio(tmp_path / "out" / "clips" / f"{IDS[0]}_{start}.flac")
        assert torch.equal(wav, seconds[None, start * RATE : (start + 10) * RATE] / 64)
    assert manifest["short"] == {f"{IDS[0]}_37": 8.0}
    (reason,) = manifest["left_out_rows"]["audio that cannot be used"].values()
    assert "1.0 of 10 s" in reason and manifest["clips"] == 3


def test_of_an_id_with_two_cut_outs_each_row_has_its_own(tmp_path):
    for i, start in enumerate((0, 30)):
        sound(tmp_path / "audio" / f"{IDS[0]}_{start}_{start + 10}.flac", i)
    rows = [row(IDS[0], 30, 40), row(IDS[0], 0, 10)]
    manifest = prepare(table(tmp_path / "t.csv", *rows), tmp_path / "audio", tmp_path / "out")
    found = {name: Path(source).stem for name, source in manifest["sources"].items()}
    assert found == {f"{IDS[0]}_{s}": f"{IDS[0]}_{s}_{s + 10}" for s in (30, 0)}


def test_every_row_without_a_clip_is_counted_and_named_with_its_reason(tmp_path):
    audio = tmp_path / "audio"
    for ytid in IDS[:2]:
        sound(audio / f"{ytid}.flac")
    cut = sound(audio / f"{IDS[2]}.flac")
    cut.write_bytes(cut.read_bytes()[:4000])
    sound(audio / f"{IDS[3]}_60.flac")
    rows = [
        row(IDS[0]), row(IDS[1]), row(IDS[2]), row(IDS[3]), row("NNNNNNNNNNN"), row(IDS[0], 40, 30),
        row(IDS[0], "soon", 30), row(IDS[0], "nan", 30), row("../../etc/x"),
        row(IDS[1], 0, 10, " "), row(IDS[0], "30.0", 40),
    ]  # fmt: skip
    manifest = prepare(table(tmp_path / "t.csv", *rows), audio, tmp_path / "out")
    assert (manifest["rows"], manifest["clips"]) == (11, 2)
    assert manifest["left_out"] == {
        "a row that tells of no clip": 6, "audio that cannot be used": 1,
        "audio of another time": 1, "no audio file": 1,
    }  # fmt: skip
    lacking = manifest["left_out_rows"]
    assert lacking["a row that tells of no clip"]["line 7"] == f"{IDS[0]}: no time range (40 to 30)"
    assert list(lacking["audio that cannot be used"]) == [f"{IDS[2]}_30"]
    assert lacking["audio of another time"] == {f"{IDS[3]}_30": f"{IDS[3]}_60.flac"}
    assert list(read_texts(tmp_path / "out" / "texts.json")) == [f"{ytid}_30" for ytid in IDS[:2]]


def test_a_subset_has_the_rows_that_the_table_marks(tmp_path):
    rows = [row(ytid, is_balanced_subset=i < 2) for i, ytid in enumerate(IDS)]
    for ytid in IDS:
        sound(tmp_path / "audio" / f"{ytid}.flac")
    csv_file = table(tmp_path / "t.csv", *rows)
    manifest = prepare(csv_file, tmp_path / "audio", tmp_path / "out", "balanced")
    assert set(manifest["sources"]) == {f"{ytid}_30" for ytid in IDS[:2]}
    assert manifest["rows"] == 2


def test_an_interrupted_run_goes_on_and_a_finished_one_is_left_alone(tmp_path):
    rows = [row(ytid) for ytid in IDS]
    for ytid in IDS:
        sound(tmp_path / "audio" / f"{ytid}.flac")
    request = (table(tmp_path / "t.csv", *rows), tmp_path / "audio", tmp_path / "out")
    first = prepare(*request)
    clips = sorted((tmp_path / "out" / "clips").iterdir())
    for path in clips:
        os.utime(path, (0, 0))
    assert prepare(*request) == first
    (tmp_path / "out" / "manifest.json").unlink()
    clips[0].unlink()
    (clips[0].parent / f".{clips[0].name}.1.tmp").write_bytes(b"half")
    assert prepare(*request) == first
    assert sorted((tmp_path / "out" / "clips").iterdir()) == clips
    assert [path.stat().st_mtime == 0 for path in clips] == [False, True, True, True]


def test_clips_of_other_audio_are_not_taken_for_these(tmp_path):
    rows = [row(ytid) for ytid in IDS]
    for ytid in IDS[:3]:
        sound(tmp_path / "audio" / f"{ytid}.flac")
    request = (table(tmp_path / "t.csv", *rows), tmp_path / "audio", tmp_path / "out")
    prepare(*request)
    sound(tmp_path / "audio" / f"{IDS[3]}.flac")
    with pytest.raises(UserError, match=r"another request \(its audio differs\)"):
        prepare(*request)
    with pytest.raises(UserError, match="its subset, audio differs"):
        prepare(*request, "eval")


def test_what_cannot_be_used_is_refused_in_one_line(tmp_path):
    audio, out = tmp_path / "audio", tmp_path / "out"
    good = table(tmp_path / "good.csv", row(IDS[0]), row(IDS[1]))
    with pytest.raises(UserError, match=r"absent\.csv: no such table"):
        prepare(tmp_path / "absent.csv", audio, out)
    with pytest.raises(UserError, match="no such folder"):
        prepare(good, audio, out)
    sound(audio / "something else.flac")
    with pytest.raises(UserError, match=r"audio for 0 of 2 rows \(no audio file: -0Gj8-vB1q4\)"):
        prepare(good, audio, out)
    other = table(tmp_path / "other.csv", ["x", "y"], columns=("youtube_id", "text"))
    with pytest.raises(UserError, match=r"line 1: lacks ytid, .* \(it has youtube_id, text\)"):
        prepare(other, audio, out)
    with pytest.raises(UserError, match="no row of subset=balanced"):
        prepare(good, audio, out, "balanced")
    (tmp_path / "bytes.csv").write_bytes(b"ytid,start_s\xff\n")
    with pytest.raises(UserError, match="is no CSV in UTF-8"):
        prepare(tmp_path / "bytes.csv", audio, out)
    for ytid in IDS[:2]:  # what failed before is in nobody's way
        sound(audio / f"{ytid}.flac")
    assert prepare(good, audio, out)["clips"] == 2


def recipe(folder: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess:
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", str(ROOT / "recipes" / "evaluate_musiccaps.sh"), *arguments],
        cwd=folder, capture_output=True, text=True, timeout=300,
        env={**os.environ, "PATH": path, **env},
    )  # fmt: skip


def test_the_recipe_says_in_one_line_what_it_lacks(tmp_path):
    few = recipe(tmp_path, "only.csv")
    assert few.returncode == 2 and few.stderr.startswith("error: bash recipes/evaluate_musiccaps")
    absent = recipe(tmp_path, "absent.csv", "audio", "model")
    assert absent.returncode == 2
    assert absent.stderr == "error: absent.csv: no such table; get musiccaps-public.csv\n"


@pytest.mark.slow
def test_the_recipe_measures_a_model_from_the_table_to_the_report(tmp_path):
    parts = small_parts()
    model = MusicGen("small", parts.codec, parts.lm, parts.text_encoder, parts.chroma, SECONDS)
    save_musicgen(model, tmp_path / "model")
    save_judge(small_judge(), tmp_path / "judge", {"held_out": {}})
    for i, ytid in enumerate(IDS[:3]):
        sound(tmp_path / "audio" / f"{ytid}.flac", i, 45.0 if i else 10.0)
    table(tmp_path / "table.csv", *(row(ytid, caption=f"note {i}") for i, ytid in enumerate(IDS)))
    arguments = (
        "table.csv", "audio", "model", "out", f"duration={SECONDS}", "weights.judge=judge",
        "cache_dir=heard", "num_threads=1",
    )  # fmt: skip
    done = recipe(tmp_path, *arguments, protocols="judge")
    assert done.returncode == 0, done.stderr
    assert "3 of 4 rows have a clip; left out: 1 no audio file" in done.stdout
    assert (tmp_path / "out" / "judge" / "report" / "index.html").is_file()
    results = json.loads((tmp_path / "out" / "judge" / "metrics.json").read_text())
    assert {"fad.judge", "kl.judge"} <= {row["name"] for row in results["metrics"]}
    found = {clip["key"]: clip["description"] for clip in results["clips"]}
    assert found == {f"{ytid}_30": f"note {i}" for i, ytid in enumerate(IDS[:3])}
    facts = [clip["facts"] for clip in results["clips"]]
    assert {fact["reference"]["duration"] for fact in facts} == {10.0}
    assert {fact["generated"]["duration"] for fact in facts} == {SECONDS}
