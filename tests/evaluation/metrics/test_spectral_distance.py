import math

import pytest
import torch

from musicgen_train.evaluation.metrics import spectral_distance
from musicgen_train.evaluation.metrics.spectral_distance import log_mel, mel_distance, stft_distance


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_mel_distance_is_zero_for_a_copy_and_one_for_a_gain_of_e():
    wav = noise(2, 1, 16_000)
    assert (mel_distance(wav, wav, 16_000) == 0).all()
    assert torch.allclose(mel_distance(math.e * wav, wav, 16_000), torch.ones(2), atol=1e-3)


def test_mel_distance_orders_distortions():
    wav = noise(1, 1, 16_000)
    slight, strong = (wav + g * noise(1, 1, 16_000, seed=1) for g in (0.1, 1.0))
    assert mel_distance(slight, wav, 16_000) < mel_distance(strong, wav, 16_000)


def test_the_distance_of_two_channels_is_the_mean_of_theirs():
    wav = noise(1, 2, 8000)
    copy = wav * torch.tensor([1.0, math.e])[:, None]
    assert mel_distance(copy, wav, 16_000).item() == pytest.approx(0.5, abs=1e-3)
    assert stft_distance(copy, wav).log_magnitude.item() == pytest.approx(0.5, abs=1e-3)


@pytest.mark.parametrize("n_samples", [1, 300, 2047])
def test_a_clip_shorter_than_the_window_still_has_a_distance(n_samples):
    ours, theirs = noise(1, 2, n_samples), noise(1, 2, n_samples, seed=1)
    assert mel_distance(ours, theirs, 16_000).item() > 0
    assert all(0 < part.item() < math.inf for part in stft_distance(ours, theirs))


def test_stft_distance_is_zero_for_a_copy_and_known_for_a_gain():
    wav = noise(2, 1, 16_000)
    assert [part.tolist() for part in stft_distance(wav, wav)] == [[0, 0], [0, 0]]
    louder = stft_distance(2 * wav, wav)
    assert torch.allclose(louder.convergence, torch.ones(2), atol=1e-4)
    assert torch.allclose(louder.log_magnitude, torch.full((2,), math.log(2)), atol=1e-3)


@pytest.mark.parametrize(
    "name, convergence, log_magnitude",
    [("tone", 0.501105, 0.379950), ("chirp", 0.250428, 0.313358)],
)
def test_stft_distance_is_that_of_auraloss_0_4(name, convergence, log_magnitude):
    n = torch.arange(16_000, dtype=torch.float64)
    target = 0.3 * torch.sin(0.1 * n if name == "tone" else 1e-5 * n * n)
    estimate = {
        "tone": 0.5 * target + 0.01 * torch.sin(0.7 * n),
        "chirp": 0.8 * target + 0.05 * torch.sin(0.3 * n),
    }[name]
    found = stft_distance(estimate.float()[None, None], target.float()[None, None])
    assert found.convergence.item() == pytest.approx(convergence, rel=1e-5)
    assert found.log_magnitude.item() == pytest.approx(log_magnitude, rel=1e-5)


def test_blocks_of_frames_are_those_of_one_stft(monkeypatch):
    wav = noise(2, 9000)
    whole = torch.stft(wav, 512, 128, window=torch.hann_window(512), return_complex=True).abs()
    mels = log_mel(wav, 16_000, 512, 40)
    monkeypatch.setattr(spectral_distance, "BLOCK_FRAMES", 7)
    blocks = list(spectral_distance._magnitude_blocks(wav, 512, 128, 512))
    assert len(blocks) > 10
    assert torch.allclose(torch.cat(blocks, -1), whole, atol=1e-5)
    assert torch.allclose(log_mel(wav, 16_000, 512, 40), mels, atol=1e-5)
