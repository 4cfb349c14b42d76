"""Dropped songs become safe copies, or one line that says why not."""

import collections
import os
import shutil

import pytest

from musicgen_train.app.request import Limits
from musicgen_train.app.songs import SongFolder
from musicgen_train.errors import UserError
from tests.app.finetunings_here import wav

NAMES = {
    "dots": "../../../etc/passwd.wav",
    "backslashes": "..\\..\\boot.wav",
    "absolute": "/etc/shadow.wav",
    "nul": "a\0b.wav",
    "newline": "a\nb\r.wav",
    "hidden": ".bashrc.wav",
    "option": "--help.wav",
    "emoji": "🎵👩‍🎤 song 🎶.wav",
    "emoji only": "🎵" * 100 + ".wav",
    "arabic": "أغنية.wav",
    "turned": "gpj.\u202egnos.wav",
    "long": "x" * 300 + ".wav",
    "surrogate": "half \ud83c emoji.wav",
    "quotes": "a'b\"c${HOME}`ls`;$(rm -rf).wav",
    "upper": "SONG.WAV",
    "nothing": ".wav.wav",
    "spaces": "   .wav",
}


@pytest.fixture
def folder(tmp_path):
    return SongFolder(tmp_path / "songs", tmp_path / "uploads", Limits(max_songs=20))


@pytest.fixture
def upload(tmp_path):
    return wav(tmp_path / "uploads/abc/upload.wav")


@pytest.mark.parametrize("name", NAMES.values(), ids=NAMES)
def test_any_name_becomes_one_file_in_the_folder(folder, upload, name):
    given = folder.add(upload, name)
    assert [song.name for song in folder.songs()] == [given]
    place = folder.root / given
    assert place.parent == folder.root and place.read_bytes() == upload.read_bytes()
    assert given.endswith(".wav") and given[0] not in ".-" and given.isprintable()
    assert len(given.encode()) < 200 and os.listdir(folder.root) == [given]


def test_readable_names_stay_as_they_are(folder, upload):
    assert folder.add(upload, "Ma chère – №1 (live).wav") == "Ma chère – №1 (live).wav"


def test_equal_names_stay_apart_also_in_case_and_composition(folder, upload):
    given = [folder.add(upload, n) for n in ("É.wav", "é.wav", "e\u0301.wav", "É.wav", "É 2.wav")]
    assert len({name.casefold() for name in given}) == 5 == len(folder.songs())


def test_songs_are_copies_and_no_links(folder, upload, tmp_path):
    link = tmp_path / "uploads/link.wav"
    link.symlink_to(upload)
    place = folder.root / folder.add(link)
    assert not place.is_symlink() and place.stat().st_nlink == 1
    upload.write_bytes(b"")
    assert place.stat().st_size > 1000


REFUSED = {
    "text": (b"not audio at all, but a text", "song.mp3"),
    "empty": (b"", "song.wav"),
    "zeros": (bytes(10_000), "song.flac"),
    "pickle": (b"\x80\x04\x95" + bytes(50), "song.ogg"),
    "playlist": (b"#EXTM3U\n#EXTINF:9,\n/etc/passwd\n", "song.m4a"),
    "cut": (None, "cut.wav"),
    "sidecar": (b'{"stems": {"vocals": "/etc/passwd"}}', "song.json"),
    "script": (b"#!/bin/sh\n", "song.sh"),
    "no suffix": (None, "song"),
}


@pytest.mark.parametrize("data, name", REFUSED.values(), ids=REFUSED)
def test_what_is_no_song_is_refused_in_one_line_and_leaves_nothing(folder, upload, data, name):
    upload.write_bytes(upload.read_bytes()[:-2000] if data is None else data)
    with pytest.raises(UserError) as told:
        folder.add(upload, name)
    line = str(told.value)
    assert line.startswith(name) and "\n" not in line and str(upload.parent) not in line
    assert folder.songs() == [] and not list(folder.root.parent.glob("songs/*"))


def test_files_outside_the_uploads_are_refused(folder, upload, tmp_path):
    outside = wav(tmp_path / "secret.wav")
    link = tmp_path / "uploads/link.wav"
    link.symlink_to(outside)
    for path in (outside, link, tmp_path / "uploads/../secret.wav", tmp_path / "uploads", "a\0b"):
        with pytest.raises(UserError, match="no uploaded file"):
            folder.add(path, "song.wav")


def test_bounds_are_kept(tmp_path, upload, monkeypatch):
    def fresh(**limits):
        return SongFolder(tmp_path / "bounded", tmp_path / "uploads", Limits(**limits))

    with pytest.raises(UserError, match="give at most"):
        fresh(max_upload_bytes=1000).add(upload)
    with pytest.raises(UserError, match="longer than"):
        fresh(max_song_duration=0.4).add(upload)
    fresh(max_songs=1).add(upload)
    with pytest.raises(UserError, match="one more than the 1 songs"):
        fresh(max_songs=1).add(upload)
    usage = collections.namedtuple("usage", "total used free")(10**9, 10**9 - 5000, 5000)
    monkeypatch.setattr(shutil, "disk_usage", lambda path: usage)
    with pytest.raises(UserError, match="disk has"):
        fresh().add(upload)
    assert len(fresh().songs()) == 1


def test_only_songs_of_the_folder_are_removed(folder, upload, tmp_path):
    name = folder.add(upload, "one.wav")
    for other in ("../uploads/abc/upload.wav", "", ".", "two.wav", str(upload), "a\0"):
        with pytest.raises(UserError, match="none of these songs"):
            folder.remove(other)
    folder.remove(name)
    assert folder.songs() == [] and upload.is_file()


def test_moved_songs_replace_none(folder, upload, tmp_path):
    there = wav(tmp_path / "run/songs/One.wav", seconds=2)
    before = there.read_bytes()
    folder.add(upload, "one.wav")
    assert folder.move_into(there.parent) == 1
    assert sorted(os.listdir(there.parent)) == ["One.wav", "one 2.wav"]
    assert there.read_bytes() == before and folder.songs() == []
