import os

import numpy as np
import pytest
import soundfile
import torch

from musicgen_train.app.request import Limits
from musicgen_train.app.sounds import display_name, read_sound
from musicgen_train.errors import UserError

LIMITS = Limits(max_duration=1.0, max_sound_duration=70.0, max_upload_bytes=2_000_000)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "uploads").mkdir()
    return tmp_path / "uploads"


def noise(seconds=1.0, rate=8000, channels=1):
    generator = np.random.default_rng(0)
    return generator.uniform(-0.5, 0.5, (round(seconds * rate), channels)).astype(np.float32)


def written(path, samples, rate=8000, **options):
    soundfile.write(path, samples, rate, **options)
    return path


@pytest.mark.parametrize("form", ["WAV", "FLAC", "OGG", "MP3"])
def test_a_sound_is_read_by_what_it_holds(folder, form):
    path = written(folder / "hum.txt", noise(rate=16_000), 16_000, format=form)
    sound = read_sound(path, folder, LIMITS)
    assert (sound.name, sound.sample_rate) == ("hum.txt", 16_000)
    assert sound.wav.shape[0] == 1
    assert sound.duration == pytest.approx(1.0, abs=0.1)
    assert sound.wav.dtype == torch.float32


def test_samples_are_those_of_the_file(folder):
    samples = noise(channels=2)
    path = written(folder / "a.wav", samples, subtype="FLOAT")
    assert torch.equal(read_sound(path, folder, LIMITS).wav, torch.from_numpy(samples.T))


def test_many_channels_become_one(folder):
    samples = noise(channels=6)
    path = written(folder / "a.wav", samples, subtype="FLOAT")
    wav = read_sound(path, folder, LIMITS).wav
    assert torch.allclose(wav[0], torch.from_numpy(samples).mean(1), atol=1e-6)


def test_high_rates_are_brought_to_48_khz(folder):
    time = np.arange(192_000) / 192_000
    path = written(folder / "a.wav", 0.5 * np.sin(2 * np.pi * 440 * time), 192_000)
    sound = read_sound(path, folder, LIMITS)
    assert (sound.sample_rate, sound.duration) == (48_000, 1.0)
    assert sound.wav.shape == (1, 48_000)
    expected = 0.5 * torch.sin(2 * torch.pi * 440 * torch.arange(48_000) / 48_000)
    assert torch.allclose(sound.wav[0, 1000:-1000], expected[1000:-1000], atol=1e-3)


def test_of_a_long_sound_only_what_music_can_hear_stays_in_memory(folder):
    path = written(folder / "a.flac", noise(65.0, 1000), 1000)
    sound = read_sound(path, folder, LIMITS)
    assert sound.duration == 65.0
    assert sound.wav.shape == (1, 61_000)


def faulty(folder):
    """{name of a file: what is said of it}, of twenty files that are no sounds."""
    good = written(folder / "good.wav", noise()).read_bytes()
    flac = written(folder / "good.flac", noise()).read_bytes()
    mp3 = written(folder / "good.mp3", noise(rate=16_000), 16_000, format="MP3").read_bytes()
    with_nan = noise()
    with_nan[5] = np.nan
    written(folder / "nan.wav", with_nan, subtype="FLOAT")
    written(folder / "inf.wav", with_nan * np.inf, subtype="FLOAT")
    written(folder / "integers.wav", noise() * 32768, subtype="FLOAT")
    written(folder / "silent.wav", noise() * 0)
    written(folder / "no_samples.wav", noise()[:0])
    written(folder / "long.flac", noise(71.0, 1000), 1000)
    written(folder / "large.wav", noise(30.0, 48_000), 48_000)
    (folder / "folder.wav").mkdir()
    os.mkfifo(folder / "pipe.wav")
    contents = {
        "empty.wav": b"",
        "text.mp3": b"no music at all\n" * 100,
        "bytes.wav": bytes(range(256)) * 40,
        "zeros.flac": bytes(5000),
        "header.wav": good[:44],
        "head.wav": good[:20],
        "cut.wav": good[:-4000],
        "cut.flac": flac[: len(flac) // 2],
        "picture.png": b"\x89PNG\r\n\x1a\n" + bytes(200),
        "page.html": b"<html><script>alert(1)</script></html>",
        "list.m3u8": b"#EXTM3U\n#EXTINF:1,\n/etc/passwd\n",
        "pickle.pt": b"\x80\x04\x95\x0b\x00\x00\x00\x00\x00\x00\x00\x8c\x02os\x94.",
        "zip.wav": b"PK\x03\x04" + bytes(100),
        "tag_only.mp3": b"ID3\x04\x00\x00\x00\x00\x00\x0a" + bytes(10),
        "rate_0.wav": good[:24] + bytes(4) + good[28:],
        "broken.mp3": mp3[:200] + bytes(len(mp3)),
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    said = {
        "nan.wav": "NaN", "inf.wav": "NaN", "integers.wav": "reach", "silent.wav": "is silent",
        "no_samples.wav": "no audio", "long.flac": "is longer than 70 s",
        "large.wav": "give at most 2 MB", "folder.wav": "is no uploaded file",
        "pipe.wav": "is no uploaded file", "cut.wav": "truncated",
    }  # fmt: skip
    return {name: said.get(name, "") for name in (*contents, *said)}


def test_every_fault_is_one_line_with_the_name_of_the_file(folder):
    faults = faulty(folder)
    assert len(faults) >= 20
    for name, message in faults.items():
        with pytest.raises(UserError) as refused:
            read_sound(folder / name, folder, LIMITS)
        line = str(refused.value)
        assert line.startswith(f"{name}: "), line
        assert message in line, (name, line)
        assert "\n" not in line
        assert str(folder) not in line


def test_no_file_outside_the_upload_folder_is_read(folder, tmp_path):
    secret = written(tmp_path / "secret.wav", noise())
    (folder / "link.wav").symlink_to(secret)
    (tmp_path / "uploads_too").mkdir()
    beside = written(tmp_path / "uploads_too" / "a.wav", noise())
    for path in (
        secret, folder / ".." / "secret.wav", folder / "link.wav", beside, "/etc/passwd",
        folder / "gone.wav", folder, "", "a\0b.wav", "x" * 5000, "../../../../etc/passwd",
    ):  # fmt: skip
        with pytest.raises(UserError, match="is no uploaded file"):
            read_sound(path, folder, LIMITS)


def test_a_sound_is_shown_under_the_name_that_its_visitor_gave_it(folder):
    path = written(folder / "0123.wav", noise() * 0)
    with pytest.raises(UserError, match=r"^my hum\.wav: is silent"):
        read_sound(path, folder, LIMITS, name="C:\\music\\my hum.wav")


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("/home/me/hum.wav", "hum.wav"),
        ("a\nb\x1b[31m.wav", "a b [31m.wav"),
        ("ピアノ🎹.wav", "ピアノ🎹.wav"),
        ("evil\u202egpj.wav", "evil gpj.wav"),
        ("", "sound"),
        ("///", "sound"),
        ("x" * 300 + ".wav", "x" * 39 + "…" + "x" * 36 + ".wav"),
    ],
)
def test_names_are_lines_of_bounded_length(name, shown):
    assert display_name(name) == shown
