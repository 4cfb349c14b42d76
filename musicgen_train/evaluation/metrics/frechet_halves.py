"""How far real music is from itself: the Fréchet distance between halves of a set."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet_bootstrap import frechet_of_draws

DRAWS = 20  # one pair of halves may be twice as far apart as another


class HalvesDistance(NamedTuple):
    """Over many ways to deal the clips into halves."""

    mean: float
    sd: float
    draws: int


def halves_distance(clips: ClipVectors, *, seed: int = 0, draws: int = DRAWS) -> HalvesDistance:
    """Mean distance between two halves that share no clip; it is biased upward as any is."""
    assert clips.n_clips >= 4, f"{clips.n_clips} clips make no halves with a covariance"
    rng, half = np.random.default_rng(seed), clips.n_clips // 2
    order = np.array([rng.permutation(clips.n_clips) for _ in range(draws)])
    one, other = (np.zeros((draws, clips.n_clips), dtype=np.int64) for _ in range(2))
    np.put_along_axis(one, order[:, :half], 1, axis=1)
    np.put_along_axis(other, order[:, half : 2 * half], 1, axis=1)
    found = frechet_of_draws(clips, one, clips, other)
    return HalvesDistance(float(found.mean()), float(found.std(ddof=1)), draws)
