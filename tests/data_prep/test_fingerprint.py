import io

import numpy as np
import pytest
import soundfile
import soxr
import torch

from data_prep.fingerprint import HOP, RATE, fingerprint
from tests.data_prep.random_songs import song

RATE_OF_SONGS = 16000


def print_of(wav, rate=RATE_OF_SONGS):
    return fingerprint([torch.from_numpy(np.ascontiguousarray(wav, np.float32))], rate)


def alike(a, b):
    """Share of equal bits."""
    n = min(len(a), len(b))
    return 1 - np.bitwise_count(a[:n] ^ b[:n]).sum() / (32 * n)


def through(wav, **how):
    """The sound after it was in a lossy file."""
    file = io.BytesIO()
    soundfile.write(file, wav.T, RATE_OF_SONGS, **how)
    file.seek(0)
    return soundfile.read(file, dtype="float32", always_2d=True)[0].T


@pytest.mark.parametrize("sizes", [[1000], [1, 7, 4099], [100000], [80000, 1, 1]])
@pytest.mark.parametrize("rate", [RATE_OF_SONGS, RATE])
def test_it_does_not_depend_on_the_sizes_of_blocks(sizes, rate):
    wav = torch.from_numpy(song(0, 12.0, rate))
    n_samples, cuts = wav.shape[1], []
    while sum(cuts) < n_samples:
        cuts.append(min(sizes[len(cuts) % len(sizes)], n_samples - sum(cuts)))
    whole = fingerprint([wav], rate)
    assert np.array_equal(fingerprint(wav.split(cuts, 1), rate), whole)
    assert abs(len(whole) * HOP / RATE - 12) < 0.6


@pytest.mark.parametrize(
    "change",
    [
        lambda wav: 0.1 * wav,
        lambda wav: wav.mean(0, keepdims=True),
        lambda wav: through(wav, format="MP3"),
        lambda wav: through(wav, format="OGG"),
        lambda wav: wav + 0.003 * np.random.default_rng(0).normal(size=wav.shape),
    ],
    ids=["gain", "mono", "mp3", "ogg", "noise"],
)
def test_the_same_music_keeps_its_bits(change):
    wav = song(1, 12.0)
    assert alike(print_of(wav), print_of(change(wav))) > 0.85


def test_another_rate_keeps_its_bits():
    wav = song(1, 12.0)
    slow = soxr.resample(wav.T, RATE_OF_SONGS, 8000).T
    assert alike(print_of(wav), print_of(slow, 8000)) > 0.9


def test_other_music_shares_half_of_the_bits():
    assert 0.4 < alike(print_of(song(1, 12.0)), print_of(song(2, 12.0, bpm=97))) < 0.6


def test_silence_is_zero_and_nothing_else_is():
    wav = song(1, 12.0)
    assert (print_of(wav) != 0).all()
    wav[:, : 6 * RATE_OF_SONGS] = 0
    words = print_of(wav)
    assert (words[:100] == 0).all() and (words[-100:] != 0).all()
    assert len(print_of(wav[:, :100])) == len(fingerprint([], RATE_OF_SONGS)) == 0
