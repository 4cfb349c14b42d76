"""Laws of the corpus on disk."""

import json
import re
import sys

import numpy as np
import pytest
import soundfile

from data_prep.demo.__main__ import main
from data_prep.demo.corpus import SETTINGS_FILE, Settings, write_corpus
from data_prep.demo.describe import describe, keywords
from data_prep.demo.instruments import LEADS
from data_prep.demo.plan import plan_track
from data_prep.demo.styles import STYLES
from musicgen_train.errors import UserError

SETTINGS = Settings(seed=5, min_duration=6.0, max_duration=9.0)
FIELDS = {
    "title",
    "artist",
    "description",
    "genre",
    "moods",
    "instrument",
    "keywords",
    "bpm",
    "key",
}
FIELDS |= {"duration", "stems", "seed"}


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("corpus")
    write_corpus(folder, SETTINGS, n_tracks=2, n_workers=1)
    return folder


def sidecars(folder):
    return [path for path in sorted(folder.rglob("*.json")) if path.name != SETTINGS_FILE]


def test_the_same_seed_writes_the_same_bytes_whatever_the_workers(corpus, tmp_path):
    write_corpus(tmp_path, SETTINGS, n_tracks=2, n_workers=2)
    assert contents(tmp_path) == contents(corpus)


def test_the_mix_is_the_sum_of_its_stems_and_does_not_clip(corpus):
    for path in sidecars(corpus):
        mix, rate = soundfile.read(path.with_suffix(".flac"), dtype="int16")
        stems = json.loads(path.read_text())["stems"]
        total = sum(
            soundfile.read(path.parent / stem, dtype="int16")[0].astype(int)
            for stem in stems.values()
        )
        assert rate == 44100 and np.array_equal(total, mix)
        assert 20 * np.log10(np.abs(mix.astype(int)).max() / 32768) == pytest.approx(-1.0, abs=0.05)


def test_sidecars_tell_the_truth(corpus):
    assert len(sidecars(corpus)) == 2
    for path in sidecars(corpus):
        content = json.loads(path.read_text())
        assert content.keys() == FIELDS
        assert content["duration"] == pytest.approx(
            soundfile.info(path.with_suffix(".flac")).duration, abs=1e-5
        )
        assert {"melody", "accompaniment", "bass", "drums"} <= content["stems"].keys()
        assert ("vocals" in content["stems"]) == ("vocals" in content["keywords"])
        assert all(
            soundfile.read(path.parent / stem)[0].any() for stem in content["stems"].values()
        )
    assert any("vocals" in json.loads(path.read_text())["stems"] for path in sidecars(corpus))


@pytest.mark.parametrize("styles", [tuple(STYLES), ("chiptune",)], ids=["usual", "chiptune"])
def test_descriptions_name_genre_and_lead_in_many_ways_and_claim_no_voice(styles):
    texts = []
    for index in range(200):
        plan = plan_track(0, index, styles)
        text = describe(plan)
        texts.append(text)
        assert any(word.lower() in text.lower() for word in (plan.style.name, *plan.style.words)), (
            text
        )
        assert any(word.lower() in text.lower() for word in LEADS[plan.lead].words), text
        assert not any(word in text.lower() for word in ("voice", "vocal", "sing", "sung")), text
        assert ("vocals" in keywords(plan)) == plan.sung
        assert not re.search(r"\ba (8|[aeiou])", text.lower()), text
    assert len(set(texts)) > (190 if len(styles) > 1 else 150)


def test_a_larger_corpus_contains_the_smaller_and_leaves_it_alone(corpus, tmp_path):
    write_corpus(tmp_path, SETTINGS, n_tracks=1, n_workers=1)
    small = contents(tmp_path)
    assert small.items() <= contents(corpus).items()
    times = {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.flac")}
    assert write_corpus(tmp_path, SETTINGS, n_tracks=1, n_workers=1) == 0.0
    assert times == {path: path.stat().st_mtime_ns for path in tmp_path.rglob("*.flac")}


def test_a_killed_run_continues_with_what_is_missing(corpus, tmp_path):
    write_corpus(tmp_path, SETTINGS, n_tracks=1, n_workers=1)
    whole = contents(tmp_path)
    next(tmp_path.rglob("drums.flac")).unlink()
    assert write_corpus(tmp_path, SETTINGS, n_tracks=1, n_workers=1) > 0
    assert contents(tmp_path) == whole


def test_a_folder_of_other_settings_or_other_things_is_refused(corpus, tmp_path):
    with pytest.raises(UserError, match="seed=5"):
        write_corpus(corpus, Settings(6, 6.0, 9.0), n_tracks=1)
    (tmp_path / "song.mp3").write_bytes(b"")
    with pytest.raises(UserError, match="no demo corpus"):
        write_corpus(tmp_path, SETTINGS, n_tracks=1)
    with pytest.raises(UserError, match="is a file"):
        write_corpus(tmp_path / "song.mp3", SETTINGS, n_tracks=1)


def test_another_choice_of_styles_is_recorded_and_never_mixed_in(corpus, tmp_path):
    chosen = Settings(5, 6.0, 9.0, styles=("chiptune",))
    write_corpus(tmp_path / "chip", chosen, n_tracks=1, n_workers=1)
    assert json.loads((tmp_path / "chip" / SETTINGS_FILE).read_text())["styles"] == ["chiptune"]
    assert [json.loads(p.read_text())["genre"] for p in sidecars(tmp_path / "chip")] == ["chiptune"]
    with pytest.raises(UserError, match=r"was made with styles=\['chiptune'\]"):
        write_corpus(tmp_path / "chip", SETTINGS, n_tracks=2)
    with pytest.raises(UserError, match=r"was made with styles=\['ambient', .*'rock'\]"):
        write_corpus(corpus, chosen, n_tracks=3)


def test_the_usual_styles_are_not_recorded_so_that_older_corpora_go_on(corpus):
    assert "styles" not in json.loads((corpus / SETTINGS_FILE).read_text())
    named = Settings(5, 6.0, 9.0, styles=tuple(reversed(STYLES)))
    assert write_corpus(corpus, named, n_tracks=2, n_workers=1) == 0.0


def test_the_command_composes_in_the_styles_that_it_is_given(tmp_path, monkeypatch):
    for name, option in (("one", "styles=[chiptune]"), ("same", "styles=chiptune")):
        monkeypatch.setattr(sys, "argv", [
            "demo", f"output_dir={tmp_path / name}", option, "n_tracks=1",
            "track_duration=[6,9]", "n_workers=1", "seed=5",
        ])  # fmt: skip
        main()
    assert contents(tmp_path / "one") == contents(tmp_path / "same")
    assert json.loads(sidecars(tmp_path / "one")[0].read_text())["genre"] == "chiptune"


@pytest.mark.parametrize(
    "bad",
    [
        "track_duration=[9,8]",
        "track_duration=7",
        "n_tracks=0",
        "n_workers=0",
        "styles=[polka]",
        "styles=[]",
        "styles=[jazz,jazz]",
        "styles={a:1}",
        "styles=[[jazz]]",
    ],
)
def test_the_command_refuses_bad_settings_in_one_line(tmp_path, monkeypatch, capsys, bad):
    monkeypatch.setattr(sys, "argv", ["demo", f"output_dir={tmp_path}/new", bad])
    with pytest.raises(SystemExit) as stop:
        main()
    assert stop.value.code == 2
    message = capsys.readouterr().err
    assert message.startswith(f"error: {bad.split('=')[0]}") and message.count("\n") == 1
    assert not (tmp_path / "new").exists()
