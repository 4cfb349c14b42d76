import math

import pytest
import torch

from musicgen_train.evaluation.metrics.codec_metrics import (
    SI_SDR_LIMIT,
    bitrate,
    code_counts,
    entropy_bitrate,
    perplexity,
    si_sdr,
    unigram_entropy,
    usage,
)


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_tenth_of_noise_is_twenty_decibels_at_any_scale_and_offset():
    target = noise(2, 1, 100_000)
    estimate = target + 0.1 * noise(2, 1, 100_000, seed=1)
    assert torch.allclose(si_sdr(estimate, target), torch.tensor(20.0).double(), atol=0.2)
    moved = si_sdr(3 * estimate + 1, target)
    assert torch.allclose(moved, si_sdr(estimate, target), atol=1e-4)


def test_silence_on_either_side_is_finite_and_as_low_as_can_be():
    silence, sound = torch.zeros(1, 1, 1000), noise(1, 1, 1000)
    for pair in ((silence, sound), (sound, silence), (silence, silence)):
        assert si_sdr(*pair).tolist() == [[-SI_SDR_LIMIT]]


def test_a_copy_at_any_scale_has_the_highest_value_and_two_channels_have_one_each():
    wav = noise(1, 2, 4000)
    assert (si_sdr(0.3 * wav + 0.1, wav) == SI_SDR_LIMIT).all()
    half = torch.stack([wav[0, 0], noise(4000, seed=1)])[None]
    assert si_sdr(half, wav).shape == (1, 2)
    assert si_sdr(half, wav)[0, 0] == SI_SDR_LIMIT and si_sdr(half, wav)[0, 1] < -10


def test_si_sdr_sees_a_broken_estimate():
    broken = noise(1, 1, 1000)
    broken[..., 5] = torch.nan
    assert torch.isnan(si_sdr(broken, noise(1, 1, 1000))).all()


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


def test_the_entropy_bitrate_of_known_codes():
    halves = torch.tensor([[500, 500, 0, 0], [1000, 0, 0, 0]])
    # One bit of the first codebook, none of the second; the correction is 1 / 2000 nats.
    assert entropy_bitrate(halves, 50) == pytest.approx(50 * (1 + 1 / 2000 / math.log(2)))
    assert entropy_bitrate(torch.full((4, 2048), 1), 50) == bitrate(4, 2048, 50)


@pytest.mark.parametrize("n_codes", [3, 40, 5000])
def test_entropy_never_exceeds_the_nominal_bitrate(n_codes):
    codes = torch.randint(64, (1, 3, n_codes), generator=torch.Generator().manual_seed(n_codes))
    assert entropy_bitrate(code_counts(codes, 64), 75) <= bitrate(3, 64, 75) + 1e-9
