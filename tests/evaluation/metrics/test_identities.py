"""What every metric must give where theory says the number, without any weights."""

import math

import pytest
import torch

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.evaluation.metrics.chroma_agreement import chroma_agreement
from musicgen_train.evaluation.metrics.codec_metrics import (
    SI_SDR_LIMIT,
    code_counts,
    perplexity,
    si_sdr,
)
from musicgen_train.evaluation.metrics.frechet import GaussianStatistics, frechet_distance
from musicgen_train.evaluation.metrics.loudness import integrated_loudness

RATE = 32_000


def noise(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return frechet_distance(GaussianStatistics.of(x), GaussianStatistics.of(y))


def melody(steps: int = 16, seed: int = 0, semitones: float = 0.0) -> torch.Tensor:
    """Half a second a note, twelve-tone, chosen at random: [1, 1, N] at 32 kHz."""
    notes = torch.randint(12, (steps,), generator=torch.Generator().manual_seed(seed))
    time = torch.arange(RATE // 2) / RATE
    hertz = [261.626 * 2 ** ((int(note) + semitones) / 12) for note in notes]
    return torch.cat([0.3 * torch.sin(2 * math.pi * f * time) for f in hertz])[None, None]


def agreement(a: torch.Tensor, b: torch.Tensor) -> float:
    """With audiocraft's settings: the share of frames with the same dominant pitch class."""
    extractor = ChromaExtractor(sample_rate=RATE, window=2**14, hop=2**12)
    return chroma_agreement(extractor(a)[0], extractor(b)[0]).argmax


@pytest.mark.parametrize("n", [20, 60, 500])
def test_a_set_is_within_a_millionth_of_itself(n):
    x = noise(n, 64)
    assert abs(distance(x, x)) < 1e-6


@pytest.mark.parametrize("n", [20, 500])
def test_a_shift_of_every_axis_adds_its_squares_also_with_few_vectors(n):
    x, shift = noise(n, 64), noise(64, seed=1)
    assert distance(x, x + shift) == pytest.approx(float(shift.square().sum()), rel=1e-6)


@pytest.mark.parametrize("n", [20, 500])
def test_a_scale_adds_the_variance_times_its_squared_excess_also_with_few_vectors(n):
    x = noise(n, 64)
    x = x - x.mean(0)
    expected = float(x.var(0).sum()) * 0.3**2
    assert distance(x, 1.3 * x) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize("n", [20, 500])
def test_both_orders_and_any_rotation_agree_also_with_few_vectors(n):
    x, y = noise(n, 64), 1.2 * noise(n + 7, 64, seed=1) + 0.1
    rotation = torch.linalg.qr(noise(64, 64, seed=2)).Q
    expected = pytest.approx(distance(x, y), rel=1e-7)
    assert distance(y, x) == expected
    assert distance(x @ rotation, y @ rotation) == expected


def test_the_order_of_the_vectors_is_of_no_matter():
    x, y = noise(300, 32), noise(200, 32, seed=1)
    shuffled = x[torch.randperm(300, generator=torch.Generator().manual_seed(0))]
    assert distance(shuffled, y) == pytest.approx(distance(x, y), rel=1e-12)


def test_a_constant_set_against_itself_is_exactly_zero():
    silence = torch.full((19, 128), -4.605).double()
    assert distance(silence, silence) == pytest.approx(0, abs=1e-12)


def test_a_melody_agrees_with_itself_and_at_any_gain():
    assert agreement(melody(), melody()) == 1.0
    assert agreement(melody(), 0.05 * melody()) == 1.0


def test_a_melody_a_semitone_higher_agrees_nowhere():
    assert agreement(melody(), melody(semitones=1)) < 0.02


def test_a_melody_an_octave_higher_agrees_nearly_everywhere():
    assert agreement(melody(), melody(semitones=12)) > 0.96


def test_unrelated_melodies_agree_by_chance():
    found = agreement(melody(600, seed=1), melody(600, seed=2))
    assert found == pytest.approx(1 / 12, abs=0.03)


def test_a_tenth_of_noise_is_twenty_decibels_at_any_scale():
    target = noise(1, 400_000)
    unrelated = noise(1, 400_000, seed=1)
    estimate = target + 0.1 * unrelated
    assert float(si_sdr(estimate, target)) == pytest.approx(20.0, abs=0.05)
    assert float(si_sdr(7 * estimate, target)) == pytest.approx(float(si_sdr(estimate, target)))
    assert float(si_sdr(-2 * target, target)) == SI_SDR_LIMIT


@pytest.mark.parametrize("rate", [32_000, 44_100, 48_000])
def test_a_sine_of_minus_twenty_decibels_has_the_loudness_of_the_standard(rate):
    sine = 0.1 * torch.sin(2 * math.pi * 997 * torch.arange(3 * rate) / rate)[None]
    assert integrated_loudness(sine, rate) == pytest.approx(-23.06, abs=0.05)


def test_twelve_thousand_uniform_codes_miss_entries_and_miller_madow_finds_them():
    codes = torch.randint(2048, (1, 1, 12_000), generator=torch.Generator().manual_seed(0))
    counts = code_counts(codes, 2048)
    p = counts[0].double() / 12_000
    assert float((-torch.xlogy(p, p)).sum().exp()) == pytest.approx(1874, abs=25)
    assert float(perplexity(counts)) == pytest.approx(2048, rel=0.01)
