"""The Fréchet distance that infinitely many clips would have (Chong and Forsyth 2020)."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference
from musicgen_train.evaluation.metrics.frechet_bootstrap import frechet_bootstrap, frechet_of_draws

MIN_CLIPS = 200
PARTS = (1, 2, 3, 4)  # the clips are dealt into so many parts of equal size
MIN_SIZES = 3
LARGE_REFERENCE = 10  # times the set that is compared with it
NORMAL = 1.96


class FrechetInfinity(NamedTuple):
    """The extrapolated distance, ± 1.96 sd; NaN where `warnings` says why there is none."""

    value: float
    sd: float  # of the distance over clips (bootstrap)
    low: float
    high: float
    slope: float  # the distance grows by slope / n_clips
    r_squared: float
    sizes: tuple[int, ...]  # clips of a part, descending
    distances: tuple[float, ...]  # mean over the parts of that size
    both_sides: bool  # whether the reference's own bias is removed as well
    warnings: tuple[str, ...]


def frechet_infinity(
    reference: FrechetReference | ClipVectors,
    clips: ClipVectors,
    *,
    seed: int = 0,
    deals: int = 3,
    sd: float | None = None,
) -> FrechetInfinity:
    """Intercept of a line through the distances of parts of the clips against 1 / clips.

    The clips are shuffled and dealt into 1, 2, 3 and 4 parts, `deals` times: parts share no
    clip, and none is taken twice, for a clip that is taken twice adds nothing and the bias would
    stay. Given the reference's clips, they are dealt into as many parts, part against part: the
    bias is a/n + b/n', and only if n and n' shrink together does the line meet zero of both.
    Given its statistics, the reference is the truth, and what bias comes of its size remains.

    sd: of the distance, where `frechet_bootstrap` already found it.
    """
    both_sides = isinstance(reference, ClipVectors)
    parts, warnings = _parts_and_warnings(
        [clips, reference] if isinstance(reference, ClipVectors) else [clips]
    )
    if not parts:
        nan = math.nan
        return FrechetInfinity(nan, nan, nan, nan, nan, nan, (), (), both_sides, warnings)
    if isinstance(reference, FrechetReference):
        warnings += _reference_warnings(reference, clips)
    means = _mean_distances(reference, clips, parts, deals, seed)
    sizes = tuple(clips.n_clips // k for k in parts)
    value, slope, r_squared = _line(1 / np.array(sizes), np.array(means))
    if sd is None:
        sd = frechet_bootstrap(reference, clips, seed=seed).sd
    low, high = value - NORMAL * sd, value + NORMAL * sd
    return FrechetInfinity(
        value, sd, low, high, slope, r_squared, sizes, means, both_sides, warnings
    )


def _mean_distances(
    reference: FrechetReference | ClipVectors,
    clips: ClipVectors,
    parts: tuple[int, ...],
    deals: int,
    seed: int,
) -> tuple[float, ...]:
    """Mean distance over all parts of one size, for each number of parts."""
    own, other = np.random.default_rng(seed).spawn(2)
    dealt, n_parts = _deal(own, clips.n_clips, parts, deals)
    if isinstance(reference, ClipVectors):
        other_dealt, _ = _deal(other, reference.n_clips, parts, deals)
        found = frechet_of_draws(reference, other_dealt, clips, dealt)
    else:
        found = np.array([reference.distance(part) for part in clips.drawn_statistics(dealt)])
    return tuple(float(found[n_parts == k].mean()) for k in parts)


def _parts_and_warnings(sides: list[ClipVectors]) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Into how many parts the sets can be dealt; nothing, and why, where a line would mislead."""
    n_clips = min(side.n_clips for side in sides)
    dim = sides[0].dim
    if n_clips < MIN_CLIPS:
        return (), (f"{n_clips} clips are too few to extrapolate from: at least {MIN_CLIPS}",)
    # Where a part has as many clips as there are dimensions, or fewer, the line is bent.
    parts = tuple(k for k in PARTS if n_clips // k > dim)
    if len(parts) < MIN_SIZES:
        enough = MIN_SIZES * (dim + 1)
        reason = f"{n_clips} clips of {dim} dimensions are too few to extrapolate from"
        return (), (f"{reason}: at least {enough}",)
    return parts, ()  # no word of an upward bias, which is what the extrapolation mends


def _reference_warnings(reference: FrechetReference, clips: ClipVectors) -> tuple[str, ...]:
    n = reference.statistics.n
    if n >= LARGE_REFERENCE * clips.n_vectors:
        return ()
    return (f"the bias of the reference's {n} vectors remains: only its clips could remove it",)


def _deal(
    rng: np.random.Generator, n_clips: int, parts: tuple[int, ...], deals: int
) -> tuple[np.ndarray, np.ndarray]:
    """Which clips are in which part [R, n_clips] of 0 and 1, and the number of parts [R]."""
    rows, n_parts = [], []
    for deal in range(deals):
        for k in parts:
            if k == 1 and deal > 0:
                continue  # the whole set is the same however it is dealt
            shuffled, size = rng.permutation(n_clips), n_clips // k
            for part in range(k):
                row = np.zeros(n_clips, dtype=np.int64)
                row[shuffled[part * size : (part + 1) * size]] = 1
                rows.append(row)
                n_parts.append(k)
    return np.array(rows), np.array(n_parts)


def _line(x: np.ndarray, y: np.ndarray) -> tuple[float, float, float]:
    """Intercept, slope and R² of the least-squares line."""
    slope = float(((x - x.mean()) * (y - y.mean())).sum() / np.square(x - x.mean()).sum())
    intercept = float(y.mean() - slope * x.mean())
    spread = float(np.square(y - y.mean()).sum())
    left = float(np.square(y - intercept - slope * x).sum())
    return intercept, slope, 1 - left / spread if spread > 0 else math.nan
