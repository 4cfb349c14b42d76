"""Files are told by their content, read in pieces, and never silently cut."""

import pickle
import struct

import numpy as np
import pytest
import soundfile
import torch

from musicgen_train.data.audio import read_audio
from musicgen_train.data.audio_file import AudioError, AudioFile
from tests.data_prep.bad_audio import RATE, aac, encoded, music

LONG = music(0, seconds=20.0)
KINDS = {
    "wav": lambda: encoded(LONG),
    "flac": lambda: encoded(LONG, "FLAC"),
    "mp3": lambda: encoded(LONG, "MP3"),
    "ogg": lambda: encoded(LONG, "OGG"),
    "opus": lambda: encoded(LONG, "OGG", "OPUS"),
    "aiff": lambda: encoded(LONG, "AIFF"),
    "m4a": lambda: aac(LONG),
    "aac": lambda: aac(LONG, "adts"),
}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("kinds")
    for suffix, make in KINDS.items():
        (folder / f"music.{suffix}").write_bytes(make())
    return folder


@pytest.mark.parametrize("suffix", KINDS)
def test_pieces_of_any_size_are_the_whole_whatever_the_format(folder, suffix):
    file = AudioFile(folder / f"music.{suffix}")
    assert (file.sample_rate, file.channels) == (RATE, 1)
    whole = torch.cat(list(file.blocks(size=1 << 22)), dim=1)
    for size in (7000, 50_000):
        assert torch.equal(torch.cat(list(file.blocks(size)), dim=1), whole)
    later = torch.cat(list(file.blocks(9000, first=12_345)), dim=1)
    assert torch.equal(read_audio(folder / f"music.{suffix}")[0], whole)
    # Seeking in lossy formats starts the decoder anew; AAC is decoded from its start.
    exact = suffix in ("wav", "flac", "aiff", "m4a", "aac")
    assert later.shape == whole[:, 12_345:].shape
    assert torch.allclose(later, whole[:, 12_345:], atol=0 if exact else 0.05)


@pytest.mark.parametrize("suffix", KINDS)
def test_every_format_holds_the_music_at_its_place(folder, suffix):
    wav = read_audio(folder / f"music.{suffix}")[0][0].numpy()
    before = 1024 if suffix == "aac" else 0  # ADTS cannot say what its encoder put in front
    assert len(wav) >= len(LONG)
    if suffix not in ("aac",):
        assert len(wav) == len(LONG)
    heard, played = wav[before : before + len(LONG)], LONG[:, 0]
    assert np.corrcoef(heard, played)[0, 1] > 0.97


@pytest.mark.parametrize("suffix", KINDS)
@pytest.mark.parametrize("share", [0.1, 0.5, 0.9])
def test_a_file_that_is_cut_is_noticed(folder, tmp_path, suffix, share):
    content = (folder / f"music.{suffix}").read_bytes()
    path = tmp_path / f"cut.{suffix}"
    path.write_bytes(content[: int(share * len(content)) + 7])
    with pytest.raises(AudioError, match=r"is truncated|cannot be decoded"):
        read_audio(path)


def test_the_suffix_does_not_matter(folder, tmp_path):
    for content, name in (("wav", "x.mp3"), ("m4a", "x.wav"), ("mp3", "x.m4a"), ("flac", "x")):
        (tmp_path / name).write_bytes((folder / f"music.{content}").read_bytes())
        whole = read_audio(folder / f"music.{content}")[0]
        assert torch.equal(read_audio(tmp_path / name)[0], whole)


def test_an_mp3_that_does_not_say_its_length_is_read_to_its_end(tmp_path):
    quiet, loud = 1e-4 * music(1, 5.0), music(2, 20.0)  # its first frames suggest another length
    content = encoded(np.concatenate([quiet, loud]), "MP3")
    (tmp_path / "x.mp3").write_bytes(content[content.index(content[:2], 4) :])
    assert soundfile.info(tmp_path / "x.mp3").frames != 25 * RATE
    assert read_audio(tmp_path / "x.mp3")[0].shape[1] == pytest.approx(25 * RATE, abs=2500)


def test_a_wav_of_unknown_length_is_read_to_its_end(tmp_path):
    content = encoded(LONG)
    at = content.index(b"data") + 4
    endless = content[:at] + struct.pack("<I", 0xFFFFFFFF) + content[at + 4 :]
    (tmp_path / "x.wav").write_bytes(endless)
    assert read_audio(tmp_path / "x.wav")[0].shape == (1, len(LONG))


def test_tags_behind_the_samples_are_no_matter(tmp_path):
    for format in ("WAV", "AIFF"):
        (tmp_path / "x").write_bytes(encoded(LONG, format) + b"junk" * 100)
        assert read_audio(tmp_path / "x")[0].shape == (1, len(LONG))


def test_a_playlist_is_not_followed(folder, tmp_path):
    lines = ["#EXTM3U", "#EXT-X-TARGETDURATION:20", "#EXTINF:20,", str(folder / "music.aac")]
    (tmp_path / "list.m4a").write_text("\n".join([*lines, "#EXT-X-ENDLIST", ""]))
    with pytest.raises(AudioError, match="cannot be decoded"):
        read_audio(tmp_path / "list.m4a")


def test_an_error_has_its_reason_apart_and_survives_the_way_from_a_worker(tmp_path):
    (tmp_path / "x.wav").write_bytes(encoded(LONG)[:-100])
    with pytest.raises(AudioError) as caught:
        read_audio(tmp_path / "x.wav")
    error = pickle.loads(pickle.dumps(caught.value))
    assert error.reason == f"is truncated ({2 * len(LONG) - 100} of {2 * len(LONG)} bytes)"
    assert str(error) == f"{tmp_path / 'x.wav'}: {error.reason}; replace or remove it"
    with pytest.raises(AudioError, match="is not a file"):
        AudioFile(tmp_path)
