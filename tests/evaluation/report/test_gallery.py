from pathlib import Path
from urllib.parse import unquote

import pytest

from musicgen_train.data.audio import read_audio
from musicgen_train.evaluation.report import gallery as gallery_module
from musicgen_train.evaluation.report.gallery import Gallery
from tests.evaluation.report.small_runs import RATE, write_tone


def entry(key: str, **audio: str | Path) -> dict:
    return {"key": key, "audio": {kind: str(place) for kind, place in audio.items()}}


@pytest.fixture
def gallery(tmp_path) -> Gallery:
    return Gallery(tmp_path / "eval", tmp_path / "page")


def test_a_clip_of_the_evaluation_and_one_from_elsewhere_are_both_copied(gallery, tmp_path):
    write_tone(tmp_path / "eval" / "audio" / "text" / "000.flac")
    write_tone(tmp_path / "mine" / "a" / "b.wav")
    clip = entry("a/b", text="audio/text/000.flac", generated=tmp_path / "mine" / "a" / "b.wav")
    assert gallery.audio(clip, "text") == "audio/text/a/b.flac"
    assert gallery.audio(clip, "generated") == "audio/generated/a/b.wav"
    assert all((tmp_path / "page" / gallery.audio(clip, kind)).is_file() for kind in clip["audio"])


def test_what_browsers_cannot_play_becomes_flac_of_the_same_sound(gallery, tmp_path):
    write_tone(tmp_path / "x.aiff")
    url = gallery.audio(entry("x", generated=tmp_path / "x.aiff"), "generated")
    assert url.endswith(".flac")
    wav, rate = read_audio(tmp_path / "page" / url)
    assert rate == RATE and (wav - read_audio(tmp_path / "x.aiff")[0]).abs().max() < 1e-4


def test_a_name_with_signs_of_the_web_is_found_again(gallery, tmp_path):
    write_tone(tmp_path / "50% #1 ü?.wav")
    clip = entry("50% #1 ü?", generated=tmp_path / "50% #1 ü?.wav")
    url = gallery.audio(clip, "generated")
    assert "#" not in url and "?" not in url and " " not in url
    assert (tmp_path / "page" / unquote(url)).is_file()


def test_unreadable_and_vanished_sound_is_explained_and_nothing_fails(gallery, tmp_path):
    (tmp_path / "broken.wav").write_bytes(b"no audio")
    (tmp_path / "broken.aiff").write_bytes(b"no audio")
    for name in ("broken.wav", "broken.aiff", "gone.wav"):
        clip = entry(name, generated=tmp_path / name)
        (version,) = gallery.versions(clip, ["generated"], {"generated": "a note"})
        assert version["audio"] == version["picture"] == "" and version["note"] != "a note"
        assert gallery.audio_if_room(clip, ["generated"]) == {}


def test_a_name_leads_nowhere_outside_of_the_page(gallery, tmp_path):
    write_tone(tmp_path / "x.wav")
    gallery.audio(entry("../../../out", generated=tmp_path / "x.wav"), "generated")
    assert (tmp_path / "page" / "audio" / "generated" / "out.wav").is_file()


def test_more_sound_is_copied_only_while_there_is_room(gallery, tmp_path, monkeypatch):
    write_tone(tmp_path / "x.wav")
    clips = [entry(str(i), generated=tmp_path / "x.wav") for i in range(4)]
    monkeypatch.setattr(gallery_module, "MAX_CLIPS", 2)
    gallery.audio(clips[3], "generated")
    found = [bool(gallery.audio_if_room(clip, ["generated"])) for clip in clips]
    assert found == [True, False, False, True]  # the last was there before
    monkeypatch.setattr(gallery_module, "MAX_CLIPS", 9)
    monkeypatch.setattr(gallery_module, "MAX_BYTES", 1)
    assert gallery.audio_if_room(clips[1], ["generated"]) == {}
