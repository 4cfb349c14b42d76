"""Intervals that say how far a figure would move with other clips."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from typing import NamedTuple

import numpy as np

MEAN_DRAWS = 2000
T_INTERVAL = "Student's t over tracks"
SHARE_INTERVAL = "Clopper and Pearson's, over tracks"
MEAN_INTERVAL = f"percentile bootstrap of the mean over tracks, {MEAN_DRAWS} draws"


class Interval(NamedTuple):
    """Ends of an interval at some level of confidence."""

    low: float
    high: float


def basic_bootstrap(estimate: float, draws: np.ndarray, level: float = 0.95) -> Interval:
    """Basic (reverse percentile) bootstrap: θ̂ less the quantiles of θ* - θ̂; draws [R].

    For a statistic with a bias, such as a Fréchet distance, whose resamples lie above the truth
    by twice the bias: percentiles of θ* would miss it nearly always (Davison and Hinkley 1997,
    5.2). The ends are not cut at zero.
    """
    low, high = np.quantile(draws, _tails(level))
    return Interval(float(2 * estimate - high), float(2 * estimate - low))


def debiased(estimate: float, draws: np.ndarray) -> float:
    """2θ̂ - mean(θ*): the estimate less its bias, which the draws [R] repeat."""
    return float(2 * estimate - np.mean(draws))


def bootstrap_mean(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable] | None = None,
    *,
    seed: int = 0,
    draws: int = MEAN_DRAWS,
    level: float = 0.95,
) -> Interval | None:
    """Percentile bootstrap of a mean over finite values, drawing whole groups (tracks, clips).

    None where there are fewer than two groups. Each value is its own group unless told.
    """
    sums, sizes = _group_sums(values, groups)
    if len(sums) < 2:
        return None
    drawn = np.random.default_rng(seed).integers(len(sums), size=(draws, len(sums)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, _tails(level))
    return Interval(float(low), float(high))


def t_mean(
    values: Sequence[float] | np.ndarray,
    groups: Sequence[Hashable] | None = None,
    *,
    level: float = 0.95,
) -> Interval | None:
    """Student's interval of a mean over finite values, groups counting as one observation each.

    The standard error is that of a ratio of the groups' sums and sizes, which for groups of one
    is s/√n; None where there are fewer than two groups.
    """
    return _t_ratio(*_group_sums(values, groups), level)


def t_ratio(
    numerators: Sequence[float],
    denominators: Sequence[float],
    groups: Sequence[Hashable],
    *,
    level: float = 0.95,
) -> Interval | None:
    """Student's interval of Σ numerators / Σ denominators, both finite, of the same clips.

    Groups count as one observation each; None where there are fewer than two, or nothing to divide
    by.
    """
    above, below = _group_sums(numerators, groups)[0], _group_sums(denominators, groups)[0]
    return _t_ratio(above, below, level) if below.sum() > 0 else None


def share_interval(share: float, n_groups: int, *, level: float = 0.95) -> Interval | None:
    """Clopper and Pearson's interval of a share, as if of so many groups each did or did not.

    It has a width also where none did, which is what matters of rare failures.
    """
    from scipy.stats import beta

    assert 0 <= share <= 1 and n_groups >= 0, (share, n_groups)
    if not n_groups:
        return None
    (tail, _), hits = _tails(level), share * n_groups
    low = 0.0 if hits == 0 else float(beta.ppf(tail, hits, n_groups - hits + 1))
    high = 1.0 if share == 1 else float(beta.ppf(1 - tail, hits + 1, n_groups - hits))
    return Interval(low, high)


def _t_ratio(sums: np.ndarray, sizes: np.ndarray, level: float) -> Interval | None:
    """Of Σ sums / Σ sizes, whose groups [G] are one observation each."""
    from scipy.stats import t

    n = len(sums)
    if n < 2:
        return None
    ratio = sums.sum() / sizes.sum()
    error = math.sqrt(np.square(sums - ratio * sizes).sum() * n / (n - 1)) / sizes.sum()
    half = float(t.ppf((1 + level) / 2, n - 1)) * error
    return Interval(float(ratio - half), float(ratio + half))


def _group_sums(
    values: Sequence[float] | np.ndarray, groups: Sequence[Hashable] | None
) -> tuple[np.ndarray, np.ndarray]:
    """Sum and number of the finite values of each group, in order of appearance."""
    members: dict[Hashable, list[float]] = {}
    names = range(len(values)) if groups is None else groups
    for value, group in zip(values, names, strict=True):
        if math.isfinite(value):
            members.setdefault(group, []).append(value)
    sums = np.array([sum(group) for group in members.values()])
    return sums, np.array([len(group) for group in members.values()])


def _tails(level: float) -> tuple[float, float]:
    assert 0 < level < 1, level
    return (1 - level) / 2, (1 + level) / 2
