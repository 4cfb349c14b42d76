import math

import torch

from musicgen_train.evaluation.embedders.judge_degradation import degrade, smear, tone


def music(seconds: float = 1.0) -> torch.Tensor:
    time = torch.arange(int(16_000 * seconds)) / 16_000
    return 0.1 * (torch.sin(2 * math.pi * 440 * time) + torch.sin(2 * math.pi * 660 * time))


def test_wear_keeps_length_and_level_and_follows_the_generator():
    first, again, other = (degrade(music(), torch.Generator().manual_seed(s)) for s in (1, 1, 2))
    assert torch.equal(first, again) and not torch.equal(first, other)
    assert first.shape == music().shape
    assert torch.allclose(first.square().mean(), music().square().mean(), rtol=1e-3)


def test_silence_stays_finite():
    assert torch.isfinite(degrade(torch.zeros(16_000), torch.Generator().manual_seed(0))).all()


def test_no_smearing_changes_nothing_and_full_smearing_spreads_a_point():
    point = torch.zeros(20, 20)
    point[10, 10] = 1.0
    assert torch.equal(smear(point, 0.0, 0.0), point)
    spread = smear(point, 1.0, 1.0)
    assert (spread > 0).sum() == 25 and torch.allclose(spread.sum(), torch.tensor(1.0))


def test_the_band_limit_is_flat_below_and_sixty_decibels_down_above():
    gain = tone(101, 0.0, 0.5, torch.Generator())[:, 0]
    assert torch.allclose(gain[:51], torch.ones(51))
    assert torch.allclose(gain[61:], torch.full((40,), 1e-3), rtol=1e-3)
    assert torch.allclose(tone(101, 0.0, 1.1, torch.Generator()), torch.ones(101, 1))
