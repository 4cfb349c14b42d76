"""How far a Fréchet distance would move with other clips: the bootstrap over clips."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference, frechet_warnings
from musicgen_train.evaluation.metrics.intervals import basic_bootstrap, debiased

FEW_DIMENSIONS, MANY_DRAWS, FEW_DRAWS = 512, 200, 50  # up to, at and above this dimension
# With fewer, draws with replacement exaggerate the bias: in 128 dimensions, 19 alike windows a clip
# and both sets drawn, no interval of 8 held the truth with 384 clips, 5 of 5 with 1536 (see
# tests/evaluation/metrics/test_claims.py for smaller sets).
CLIPS_PER_DIMENSION = 12


class FrechetBootstrap(NamedTuple):
    """A Fréchet distance with its basic bootstrap interval at 95 %."""

    value: float  # the distance itself, biased upward
    debiased: float  # 2 value - mean(draws); may be below zero
    sd: float  # standard deviation of the draws
    low: float
    high: float
    draws: np.ndarray  # [R]; line up with another system's on the same clips and seed
    warnings: tuple[str, ...]


def frechet_bootstrap(
    reference: FrechetReference | ClipVectors,
    clips: ClipVectors,
    *,
    seed: int = 0,
    draws: int | None = None,
) -> FrechetBootstrap:
    """Draw clips with replacement, never windows, for those of one clip resemble each other.

    reference: its clips, which are then drawn as well, so that the bias and the chance of both
        sets are accounted for; or its statistics, which are then taken for the truth.
    draws: 200 unless told, 50 above 512 dimensions.

    Two systems that answered the same prompts in the same order differ by
    `basic_bootstrap(a.value - b.value, a.draws - b.draws)` if the seed and the reference are one.
    """
    draws = draws or (MANY_DRAWS if clips.dim <= FEW_DIMENSIONS else FEW_DRAWS)
    own, other = np.random.default_rng(seed).spawn(2)
    counts = _counts(own, clips.n_clips, draws)
    warnings = frechet_warnings(clips.n_clips, clips.n_vectors, clips.dim)
    if isinstance(reference, ClipVectors):
        fixed = FrechetReference(reference.statistics())
        theirs = frechet_warnings(reference.n_clips, reference.n_vectors, reference.dim)
        warnings += tuple(f"reference: {text}" for text in theirs)
        other_counts = _counts(other, reference.n_clips, draws)
        drawn = frechet_of_draws(reference, other_counts, clips, counts)
    else:
        fixed = reference
        drawn = np.array([fixed.distance(found) for found in clips.drawn_statistics(counts)])
    value = fixed.distance(clips.statistics())
    if clips.n_clips < 2:
        warnings += ("one clip has no interval",)
        drawn = np.full(draws, math.nan)
    low, high = basic_bootstrap(value, drawn)
    sd = float(drawn.std(ddof=1))
    return FrechetBootstrap(value, debiased(value, drawn), sd, low, high, drawn, warnings)


def frechet_of_draws(
    a: ClipVectors, a_counts: np.ndarray, b: ClipVectors, b_counts: np.ndarray
) -> np.ndarray:
    """Distances between R draws of one set and R of another: counts [R, n_clips] -> [R]."""
    pairs = zip(a.drawn_statistics(a_counts), b.drawn_statistics(b_counts), strict=True)
    return np.array([FrechetReference(one).distance(two) for one, two in pairs])


def _counts(rng: np.random.Generator, n_clips: int, draws: int) -> np.ndarray:
    drawn = rng.multinomial(n_clips, np.full(n_clips, 1 / n_clips), size=draws)
    return drawn.astype(np.int16)  # the only thing here that grows with the clips
