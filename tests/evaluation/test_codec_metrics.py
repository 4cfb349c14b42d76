import math

import pytest
import torch

from musicgen_train.evaluation.codec_metrics import (
    bitrate,
    code_counts,
    perplexity,
    si_sdr,
    unigram_entropy,
    usage,
)
from musicgen_train.evaluation.spectral_distance import mel_distance


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_tenth_of_noise_is_twenty_decibels_at_any_scale_and_offset():
    target = noise(2, 1, 100_000)
    estimate = target + 0.1 * noise(2, 1, 100_000, seed=1)
    assert torch.allclose(si_sdr(estimate, target), torch.tensor(20.0).double(), atol=0.2)
    moved = si_sdr(3 * estimate + 1, target)
    assert torch.allclose(moved, si_sdr(estimate, target), atol=1e-4)


def test_si_sdr_of_a_silent_estimate_is_finite_and_very_low():
    found = si_sdr(torch.zeros(1, 1, 1000), noise(1, 1, 1000))
    assert torch.isfinite(found).all() and (found <= 0).all()


def test_mel_distance_is_zero_for_a_copy_and_one_for_a_gain_of_e():
    wav = noise(2, 1, 16_000)
    assert (mel_distance(wav, wav, 16_000) == 0).all()
    assert torch.allclose(mel_distance(math.e * wav, wav, 16_000), torch.ones(2), atol=1e-3)


def test_mel_distance_orders_distortions():
    wav = noise(1, 1, 16_000)
    slight, strong = (wav + g * noise(1, 1, 16_000, seed=1) for g in (0.1, 1.0))
    assert mel_distance(slight, wav, 16_000) < mel_distance(strong, wav, 16_000)


def test_a_clip_shorter_than_the_window_still_has_a_distance():
    assert mel_distance(noise(1, 1, 300), noise(1, 1, 300, seed=1), 16_000).item() > 0


@pytest.mark.parametrize("card, draws", [(64, 20_000), (2048, 12_000)])
def test_uniform_codes_have_a_perplexity_of_the_codebooks_size(card, draws):
    codes = torch.randint(card, (1, 2, draws), generator=torch.Generator().manual_seed(0))
    counts = code_counts(codes, card)
    assert torch.allclose(perplexity(counts), torch.full((2,), float(card)).double(), rtol=0.02)
    plug_in = counts / counts.sum(-1, keepdim=True)
    uncorrected = (-torch.xlogy(plug_in, plug_in)).sum(-1).exp()
    assert (perplexity(counts) > uncorrected).all()


def test_one_code_has_no_entropy_and_uses_one_entry():
    counts = code_counts(torch.full((3, 1, 50), 5), card=8)
    assert counts.tolist() == [[0, 0, 0, 0, 0, 150, 0, 0]]
    assert unigram_entropy(counts).item() == 0.0
    assert usage(counts).item() == 1 / 8


def test_no_codes_are_refused():
    with pytest.raises(ValueError, match="no codes"):
        unigram_entropy(torch.zeros(2, 8))


def test_the_bitrate_of_the_published_codec():
    assert bitrate(n_q=4, card=2048, frame_rate=50) == 2200
