import os

import pytest

from data_prep.library import Library, inside, printable
from musicgen_train.errors import UserError


def touch(folder, *names):
    for name in names:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(b"x" * (len(names) + 1))


def found(folder):
    return [track.name for track in Library(str(folder)).list().tracks]


def test_tracks_are_audio_files_at_any_depth_by_name(tmp_path):
    touch(tmp_path, "b.MP3", "a/z.flac", "a/y/x.opus", "notes.txt", "cover.jpg", "noext")
    listing = Library(str(tmp_path)).list()
    assert [track.name for track in listing.tracks] == ["a/y/x.opus", "a/z.flac", "b.MP3"]
    assert listing.others == {".jpg": 1, ".txt": 1, "none": 1}
    assert listing.unreadable == {}


def test_stems_and_hidden_files_are_no_tracks(tmp_path):
    touch(tmp_path, "a.wav", "a.stems/drums.wav", ".hidden.wav", ".folder/b.wav")
    assert found(tmp_path) == ["a.wav"]


def test_odd_names_are_tracks_and_hidden_ones_are_counted(tmp_path):
    odd = ["...And You Will Know Us/01 song.wav", "...song.wav", "Band.stems/track.wav"]
    touch(tmp_path, *odd, "._song.wav", ".Trash/b.wav", "x.wav", "x.stems/drums.wav")
    listing = Library(str(tmp_path)).list()
    assert [track.name for track in listing.tracks] == sorted([*odd, "x.wav"])
    assert listing.others == {"hidden": 2}


def test_a_track_knows_the_json_beside_it(tmp_path):
    touch(tmp_path, "a.wav", "a.json", "b.wav")
    assert [track.sidecar for track in Library(str(tmp_path)).list().tracks] == ["a.json", None]


def test_links_are_followed_once_and_loops_end(tmp_path):
    library = tmp_path / "library"
    touch(library, "real/a.wav")
    touch(tmp_path, "elsewhere/b.wav")
    os.symlink(tmp_path / "elsewhere", library / "linked")
    os.symlink(library, library / "real" / "loop")
    os.symlink(library / "real", library / "again")
    assert found(library) == ["linked/b.wav", "real/a.wav"]


def test_links_that_lead_nowhere_are_listed(tmp_path):
    touch(tmp_path, "a.wav")
    os.symlink(tmp_path / "gone.wav", tmp_path / "dangling.wav")
    os.symlink(tmp_path / "self.wav", tmp_path / "self.wav")
    listing = Library(str(tmp_path)).list()
    assert [track.name for track in listing.tracks] == ["a.wav"]
    assert set(listing.unreadable) == {"dangling.wav", "self.wav"}
    assert all("cannot be opened (" in reason for reason in listing.unreadable.values())


def test_names_that_are_no_text_can_be_printed(tmp_path):
    path = os.fsencode(tmp_path) + b"/caf\xe9.wav"
    with open(path, "wb") as file:
        file.write(b"x")
    (name,) = found(tmp_path)
    assert printable(name) == "caf\\xe9.wav"
    assert printable(name).encode("utf-8")


def test_a_bucket_is_a_library_too(tmp_path):
    import fsspec

    memory = fsspec.filesystem("memory")
    memory.pipe({"/music/a/b.wav": b"sound", "/music/a/b.json": b"{}", "/music/x.txt": b""})
    library = Library("memory://music")
    try:
        (track,) = library.list().tracks
        assert (track.name, track.size, track.sidecar) == ("a/b.wav", 5, "a/b.json")
        with library.local(track.name, tmp_path) as copy:
            assert copy.read_bytes() == b"sound"
            assert copy.suffix == ".wav"
        assert not copy.exists()
    finally:
        memory.rm("/music", recursive=True)


@pytest.mark.parametrize("url", ["memory://nothing", "nosuch://bucket", "s3://"])
def test_a_bucket_that_cannot_be_listed_is_one_line(url):
    with pytest.raises(UserError) as raised:
        Library(url).list()
    assert "\n" not in str(raised.value)


def test_sidecars_never_lead_outside_of_the_library():
    assert inside("a/b.wav", "b.stems/drums.wav") == "a/b.stems/drums.wav"
    assert inside("a/b.wav", "../c.wav") == "c.wav"
    for outside in ("../../etc/passwd", "/etc/passwd"):
        with pytest.raises(UserError, match="outside of the library"):
            inside("a/b.wav", outside)
