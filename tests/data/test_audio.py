import inspect
import logging
import math

import numpy as np
import pytest
import soundfile
import torch

from musicgen_train.data.audio import (
    AudioError,
    audio_write,
    decode_flac,
    encode_flac,
    read_audio,
    resample,
    to_channels,
)
from musicgen_train.data.loudness import to_loudness
from musicgen_train.errors import UserError

RATE = 32000


def sine(seconds=2.0, channels=1, amplitude=0.3, pitch=440.0, rate=RATE):
    time = torch.arange(round(seconds * rate)) / rate
    return (amplitude * torch.sin(2 * math.pi * pitch * time)).expand(channels, -1).contiguous()


@pytest.mark.parametrize("suffix", ["wav", "flac", "ogg", "mp3"])
@pytest.mark.parametrize("channels", [1, 2])
def test_written_audio_reads_back_as_it_was(tmp_path, suffix, channels):
    wav = sine(channels=channels)
    path = audio_write(tmp_path / "tone", wav, RATE, format=suffix, strategy="none")
    assert path == tmp_path / f"tone.{suffix}"
    read, rate = read_audio(path)
    assert rate == RATE
    assert read.shape == wav.shape
    tolerance = 2e-4 if suffix in ("wav", "flac") else 0.03
    assert (read - wav)[:, 2000:-2000].abs().max() < tolerance


def test_a_stretch_of_a_file_is_that_stretch_of_the_whole(tmp_path):
    noise = torch.rand(2, 10 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    path = audio_write(tmp_path / "noise", noise, RATE, format="flac")
    whole, _ = read_audio(path)
    part, _ = read_audio(path, start=3.25, duration=1.5)
    assert torch.equal(part, whole[:, round(3.25 * RATE) : round(4.75 * RATE)])
    assert read_audio(path, start=9.0)[0].shape == (2, RATE)
    assert read_audio(path, start=9.0, duration=5.0)[0].shape == (2, RATE)


def test_a_flac_crop_in_memory_is_that_crop_of_the_whole():
    wav = torch.rand(1, 20000, generator=torch.Generator().manual_seed(0)) - 0.5
    data = encode_flac(wav, 16000)
    whole = decode_flac(data)
    assert (whole - wav).abs().max() < 1e-4
    for start, length in ((0, 5), (1, 1000), (4096, 4096), (19999, 1)):
        assert torch.equal(decode_flac(data, start, length), whole[:, start : start + length])


def test_resampling_keeps_pitch_level_and_length():
    wav = resample(sine(rate=44100), 44100, 16000)
    assert wav.shape == (1, 32000)
    assert (wav - sine(rate=16000))[:, 500:-500].abs().max() < 1e-3
    assert resample(wav, 16000, 16000) is wav
    many = torch.rand(3, 2, 800, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resample(many, 8000, 4000)[2], resample(many[2], 8000, 4000))


def test_channels_are_averaged_or_copied():
    wav = torch.stack([torch.zeros(4), torch.ones(4)])
    assert to_channels(wav, 1).tolist() == [[0.5] * 4]
    assert to_channels(wav[1:], 2).tolist() == [[1.0] * 4] * 2
    assert to_channels(wav, 2) is wav
    assert to_channels(torch.rand(3, 8, 5), 2).shape == (3, 2, 5)
    with pytest.raises(UserError, match="3 channels from 2"):
        to_channels(wav, 3)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("missing.wav", None, "no such audio file"),
        ("empty.wav", b"", "cannot be decoded"),
        ("garbage.mp3", b"\x01\x02" * 500, "cannot be decoded"),
        ("garbage.m4a", b"\x01\x02" * 500, "cannot be decoded"),
    ],
)
def test_what_cannot_be_read_is_one_line_with_the_file(tmp_path, name, content, reason):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(AudioError, match=reason) as error:
        read_audio(tmp_path / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


def test_not_a_number_and_nothing_at_all_are_refused(tmp_path):
    soundfile.write(tmp_path / "nan.wav", np.full(100, np.nan), RATE, subtype="FLOAT")
    soundfile.write(tmp_path / "none.wav", np.zeros((0, 1)), RATE)
    with pytest.raises(AudioError, match="NaN"):
        read_audio(tmp_path / "nan.wav")
    with pytest.raises(AudioError, match="no audio samples"):
        read_audio(tmp_path / "none.wav")


@pytest.mark.parametrize(
    ("strategy", "peak"), [("peak", 10 ** (-1 / 20)), ("clip", 0.3), ("none", 0.3)]
)
def test_peak_reaches_the_headroom_and_the_others_do_not_raise_it(tmp_path, strategy, peak):
    path = audio_write(tmp_path / "tone", sine(), RATE, strategy=strategy)
    assert read_audio(path)[0].abs().max().item() == pytest.approx(peak, abs=1e-3)


def test_clip_cuts_at_the_headroom(tmp_path):
    path = audio_write(tmp_path / "x", sine(amplitude=2.0), RATE, strategy="clip")
    assert read_audio(path)[0].abs().max().item() == pytest.approx(10 ** (-1 / 20), abs=1e-3)


def test_rms_reaches_18_db_below_full_scale(tmp_path):
    wav, _ = read_audio(audio_write(tmp_path / "x", sine(amplitude=0.01), RATE, strategy="rms"))
    assert 20 * math.log10(wav.square().mean().sqrt()) == pytest.approx(-18, abs=0.05)


def test_loudness_reaches_14_lufs_below_full_scale(tmp_path):
    import pyloudnorm

    path = audio_write(tmp_path / "x", sine(amplitude=0.05), RATE, strategy="loudness")
    measured = pyloudnorm.Meter(RATE).integrated_loudness(read_audio(path)[0].T.double().numpy())
    assert measured == pytest.approx(-14, abs=0.1)


def test_audio_at_a_rate_that_loudness_is_not_defined_for_keeps_its_level():
    wav = 0.1 * torch.randn(1, 4000, generator=torch.Generator().manual_seed(0))
    assert torch.equal(to_loudness(wav, 1600, -14, compress=True), wav)


def test_the_compressor_keeps_loud_audio_within_full_scale():
    wav = to_loudness(sine(amplitude=0.3, pitch=50.0), RATE, -3.0, compress=True)
    assert wav.abs().max() < 1.0
    assert to_loudness(sine(amplitude=0.3, pitch=50.0), RATE, -3.0, False).abs().max() > 1.0


@pytest.mark.parametrize("strategy", ["peak", "rms"])
def test_without_normalising_audio_is_only_made_quieter(tmp_path, strategy):
    quiet = audio_write(
        tmp_path / "q", sine(amplitude=0.01), RATE, strategy=strategy, normalize=False
    )
    assert read_audio(quiet)[0].abs().max().item() == pytest.approx(0.01, abs=1e-4)
    loud = audio_write(
        tmp_path / "l", sine(amplitude=3.0), RATE, strategy=strategy, normalize=False
    )
    assert read_audio(loud)[0].abs().max() < 1.0


@pytest.mark.parametrize("strategy", ["peak", "clip", "rms", "loudness", "none"])
@pytest.mark.parametrize("n_samples", [10, RATE])
def test_silence_stays_silence(tmp_path, strategy, n_samples):
    path = audio_write(tmp_path / "x", torch.zeros(n_samples), RATE, strategy=strategy)
    assert read_audio(path)[0].abs().max() == 0


def test_clipping_is_logged_with_the_name_unless_told_not_to(tmp_path, caplog):
    peaky = sine(amplitude=0.02)
    peaky[0, 100] = 1.0
    with caplog.at_level(logging.WARNING):
        audio_write(tmp_path / "quiet", peaky, RATE, strategy="rms", log_clipping=False)
        assert not caplog.records
        audio_write(tmp_path / "spike", peaky, RATE, strategy="rms")
    assert "spike clips" in caplog.text


def test_mp3_has_the_bit_rate_asked_for(tmp_path):
    noise = torch.rand(2, 10 * RATE, generator=torch.Generator().manual_seed(0)) - 0.5
    for kbps in (320, 128):
        size = audio_write(tmp_path / "x", noise, RATE, format="mp3", mp3_rate=kbps).stat().st_size
        assert size * 8 / 10 / 1000 == pytest.approx(kbps, rel=0.02)


def test_ogg_has_about_the_bit_rate_asked_for(tmp_path):
    noise = 0.1 * torch.randn(2, 10 * 44_100, generator=torch.Generator().manual_seed(0))
    for kbps in (96, 192, 320):
        path = audio_write(tmp_path / "x", noise, 44_100, format="ogg", ogg_rate=kbps)
        assert path.stat().st_size * 8 / 10 / 1000 == pytest.approx(kbps, rel=0.3)


def test_the_signature_is_audiocrafts():
    names = list(inspect.signature(audio_write).parameters)
    assert names == [
        "stem_name", "wav", "sample_rate", "format", "mp3_rate", "ogg_rate", "normalize",
        "strategy", "peak_clip_headroom_db", "rms_headroom_db", "loudness_headroom_db",
        "loudness_compressor", "log_clipping", "make_parent_dir", "add_suffix",
    ]  # fmt: skip


@pytest.mark.parametrize(
    "wrong",
    [
        {"format": "xyz"},
        {"strategy": "louder"},
        {"wav": torch.ones(1, 100, dtype=torch.int16)},
        {"wav": torch.full((1, 100), float("nan"))},
        {"wav": torch.rand(1, 1, 100)},
        {"wav": torch.full((1, 100), 1.5), "strategy": "none"},
    ],
)
def test_what_cannot_be_written_is_refused_and_leaves_no_file(tmp_path, wrong):
    arguments = {"wav": sine(), **wrong}
    with pytest.raises(UserError):
        audio_write(tmp_path / "x", arguments.pop("wav"), RATE, **arguments)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("rate", [1600, 96_000])
def test_a_rate_that_a_format_lacks_is_refused_and_leaves_no_file(tmp_path, rate):
    with pytest.raises(UserError, match=f"mp3 files cannot have 2 channels of {rate} Hz"):
        audio_write(tmp_path / "x", torch.zeros(2, 100), rate, format="mp3")
    assert list(tmp_path.iterdir()) == []


def test_a_place_that_cannot_be_written_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    (tmp_path / "folder.wav").mkdir()
    for stem in ("file/x", "folder"):
        with pytest.raises(UserError, match=f"{stem}.wav: cannot be written") as error:
            audio_write(tmp_path / stem, sine(), RATE)
        assert "\n" not in str(error.value)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "folder.wav"]


def test_the_name_may_come_with_its_suffix_and_new_folders(tmp_path):
    path = audio_write(tmp_path / "a" / "b.wav", sine(), RATE, add_suffix=False)
    assert [p.name for p in (tmp_path / "a").iterdir()] == ["b.wav"]
    assert path == tmp_path / "a" / "b.wav"
