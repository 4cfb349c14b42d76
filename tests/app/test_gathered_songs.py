"""Songs that wait for a fine-tuning are each their visitor's, and bounded for all."""

import os
import time

import pytest

from musicgen_train.app.gathered_songs import GatheredSongs
from musicgen_train.app.request import Limits
from musicgen_train.errors import UserError
from tests.app.finetunings_here import wav

DAY = 24 * 3600


@pytest.fixture
def upload(tmp_path):
    return wav(tmp_path / "uploads/abc/upload.wav")


def gathered(folder, upload, songs):
    """A folder for so many songs of all visitors."""
    limits = Limits(max_gathered_bytes=songs * upload.stat().st_size)
    return GatheredSongs(folder / "songs", folder / "uploads", limits)


def test_each_visitor_has_their_own(tmp_path, upload):
    songs = gathered(tmp_path, upload, 10)
    songs.of("ada").add(upload, "one.wav")
    songs.of("../ada").add(upload, "two.wav")
    assert [song.name for song in songs.of("ada").songs()] == ["one.wav"]
    assert {path.parent.parent for path in tmp_path.glob("**/*.wav") if path != upload} == {
        tmp_path / "songs"
    }


def test_all_together_are_bounded_and_removing_makes_room(tmp_path, upload):
    songs = gathered(tmp_path, upload, 2)
    songs.of("ada").add(upload, "one.wav")
    songs.of("bob").add(upload, "two.wav")
    with pytest.raises(UserError, match="no room for more songs"):
        songs.of("ada").add(upload, "three.wav")
    songs.of("bob").remove("two.wav")
    songs.of("ada").add(upload, "three.wav")


def test_what_was_forgotten_for_a_day_makes_room(tmp_path, upload):
    songs = gathered(tmp_path, upload, 2)
    for visitor in ("ada", "bob"):
        songs.of(visitor).add(upload, "one.wav")
    old = time.time() - 2 * DAY
    os.utime(songs.of("ada").root, (old, old))
    songs.of("cleo").add(upload, "one.wav")
    assert [len(songs.of(who).songs()) for who in ("ada", "bob", "cleo")] == [0, 1, 1]
