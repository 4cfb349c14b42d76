import math

import pytest
import torch

from musicgen_train.data.audio import resample
from musicgen_train.evaluation.embedders.mono import finite, resample_as_audiocraft, to_mono


def noise(*shape):
    return torch.randn(shape, generator=torch.Generator().manual_seed(0)) / 4


def test_samples_that_are_no_numbers_count_as_silence():
    wav = torch.tensor([[0.5, math.nan, math.inf, -math.inf, -0.5]], dtype=torch.float64)
    assert torch.equal(finite(wav), torch.tensor([[0.5, 0.0, 0.0, 0.0, -0.5]]))


def test_a_clip_without_channels_is_refused():
    with pytest.raises(AssertionError, match=r"\[C, N\], got \(3,\)"):
        finite(torch.zeros(3))


def test_mono_is_the_mean_of_the_channels_at_the_new_rate():
    wav = noise(2, 4410)
    assert torch.equal(to_mono(wav, 44_100, 16_000), resample(wav.mean(0), 44_100, 16_000))
    assert torch.equal(to_mono(wav, 16_000, 16_000), wav.mean(0))


def test_audiocrafts_resampler_is_another_and_leaves_nothing_as_nothing():
    julius = pytest.importorskip("julius")
    wav = noise(2, 4410)
    found = resample_as_audiocraft(wav, 44_100, 16_000)
    assert torch.equal(found, julius.resample_frac(wav, 44_100, 16_000))
    assert not torch.allclose(found, resample(wav, 44_100, 16_000), atol=1e-3)
    assert resample_as_audiocraft(wav[:, :0], 44_100, 16_000).shape == (2, 0)
