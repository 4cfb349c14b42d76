import math

import pytest
import torch

from musicgen_train.evaluation.embedders.facts import ClipFacts
from musicgen_train.evaluation.metrics.silence import block_levels, longest_silence

RATE = 8000


def sine(seconds: float, level: float = 0.3) -> torch.Tensor:
    return level * torch.sin(torch.arange(round(seconds * RATE)) * 0.3)[None]


def test_a_stretch_of_silence_is_found_with_its_length():
    wav = torch.cat([sine(3.0), sine(2.5, 1e-4), sine(1.0), sine(0.5, 0.0), sine(1.0)], -1)
    assert longest_silence(block_levels(wav, RATE)) == pytest.approx(2.5, abs=0.15)
    assert ClipFacts.of(wav, RATE).silence == pytest.approx(2.5, abs=0.15)
    assert ClipFacts.of(wav.expand(2, -1), RATE).silence == pytest.approx(2.5, abs=0.15)


def test_sound_has_no_silence_and_silence_nothing_else():
    assert longest_silence(block_levels(sine(2.0), RATE)) == 0.0
    assert longest_silence(block_levels(torch.zeros(1, 2 * RATE), RATE)) == pytest.approx(2.0)
    assert longest_silence(block_levels(torch.zeros(1, 10), RATE)) == 0.0


def test_levels_are_those_of_the_blocks_and_broken_samples_count_as_zero():
    wav = torch.cat([torch.full((1, RATE), 0.5), torch.full((1, RATE), math.nan)], -1)
    levels = block_levels(wav, RATE)
    assert torch.allclose(levels, torch.tensor([0.5] * 10 + [0.0] * 10, dtype=torch.float64))


def test_the_clipped_share_is_of_samples_at_full_scale():
    wav = sine(1.0)
    assert ClipFacts.of(wav, RATE).clipped == 0.0
    wav[:, :80] = torch.tensor([32767 / 32768, -1.0]).repeat(40)
    assert ClipFacts.of(wav, RATE).clipped == pytest.approx(0.01)
