import math

import pytest
import torch

from musicgen_train.evaluation.embedders.passt_features import (
    PasstFeatures,
    frames_in,
    kaldi_mel_bank,
)


def test_the_mel_bands_are_torchaudios_to_the_last_bit():
    try:
        from torchaudio.compliance import kaldi
    except (ImportError, OSError) as error:  # its libraries were built for another torch
        pytest.skip(f"no torchaudio: {error}")
    bank, _ = kaldi.get_mel_banks(128, 1024, 32000, 0.0, 15000.0, 100.0, -500.0, 1.0)
    assert torch.equal(kaldi_mel_bank()[:, :512], bank)
    assert (kaldi_mel_bank()[:, 512] == 0).all()


def test_the_mel_bands_are_triangles_whose_flanks_add_up_to_one():
    bank = kaldi_mel_bank()
    assert bank.shape == (128, 513)
    assert bank.min() == 0
    assert bank.max() <= 1
    mel = 1127 * (1 + torch.arange(513) * 31.25 / 700).log()
    step = 1127 * math.log(1 + 15000 / 700) / 129
    between_peaks = (mel >= step) & (mel <= 128 * step)
    assert torch.allclose(bank.sum(0)[between_peaks], torch.ones(()), atol=1e-4)


def test_silence_is_one_constant():
    mel = PasstFeatures()(torch.zeros(1, 3200))
    assert torch.allclose(mel, torch.tensor((math.log(1e-5) + 4.5) / 5))


@pytest.mark.parametrize("n_samples", [4801, 9000, 32000, 320000])
def test_frames_are_counted_without_hearing(n_samples):
    assert PasstFeatures()(torch.zeros(1, n_samples)).shape == (1, 128, frames_in(n_samples))


@pytest.mark.parametrize("frequency", [200.0, 1000.0, 5000.0])
def test_a_tone_is_loudest_in_the_band_around_it(frequency):
    tone = torch.sin(2 * math.pi * frequency * torch.arange(32000) / 32000)
    loudest = int(PasstFeatures()(tone[None])[0].mean(-1).argmax())
    centre = 1127 * math.log(1 + 15000 / 700) / 129 * (loudest + 1)
    step = 1127 * math.log(1 + 15000 / 700) / 129
    assert abs(centre - 1127 * math.log(1 + frequency / 700)) <= step


def test_ten_times_the_level_adds_two_tens_logarithms():
    noise = torch.randn(1, 8000, generator=torch.Generator().manual_seed(0))
    features = PasstFeatures()
    louder = features(10 * noise) - features(noise)
    assert torch.allclose(louder, torch.tensor(2 * math.log(10) / 5), atol=1e-3)
