"""The loudness of a stream is pyloudnorm's of the whole."""

import pyloudnorm
import pytest
import torch

from musicgen_train.data.loudness_meter import LoudnessMeter, measure_loudness


def music(rate: int, channels: int, seconds: float = 10.0) -> torch.Tensor:
    """Noise with a level that changes every half a second, so that gates matter."""
    rng = torch.Generator().manual_seed(0)
    levels = torch.rand(1, 40, generator=rng) ** 4
    wav = 0.1 * torch.randn(channels, 20 * rate, generator=rng)
    return (wav * levels.repeat_interleave(rate // 2, 1)[:, : 20 * rate])[:, : int(seconds * rate)]


@pytest.mark.parametrize("rate", [16000, 22050, 32000, 44100])
@pytest.mark.parametrize("channels", [1, 2, 5])
def test_it_equals_pyloudnorm_in_blocks_of_any_size(rate, channels):
    wav = music(rate, channels)
    expected = pyloudnorm.Meter(rate).integrated_loudness(wav.T.double().numpy())
    assert measure_loudness(wav, rate) == pytest.approx(expected, abs=1e-6)
    for size in (777, 30_000):
        meter = LoudnessMeter(rate)
        for block in wav.split(size, 1):
            meter.add(block)
        assert meter.loudness() == measure_loudness(wav, rate)


def test_a_full_scale_sine_of_997_hz_has_3_lufs_below_zero():
    time = torch.arange(48000 * 5) / 48000
    sine = torch.sin(2 * torch.pi * 997 * time)[None]
    assert measure_loudness(sine, 48000) == pytest.approx(-3.01, abs=0.1)  # EBU Tech 3341


def test_what_has_no_loudness_has_none():
    assert measure_loudness(torch.zeros(1, 32000), 32000) is None
    assert measure_loudness(torch.rand(1, 12799), 32000) is None  # shorter than 0.4 s
    assert measure_loudness(torch.rand(1, 12800), 32000) is not None
    assert measure_loudness(1e-4 * torch.rand(1, 64000), 32000) is None  # below -70 LUFS
    assert measure_loudness(torch.rand(1, 30000), 3000) is None
    assert LoudnessMeter(32000).loudness() is None
