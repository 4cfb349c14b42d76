"""How a figure is spread over clips."""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence

import numpy as np

DRAWS = 2000


def spread(values: Sequence[float], groups: Sequence[Hashable]) -> dict[str, float]:
    """Median, standard deviation and 95 % interval of the mean, over the values that are finite.

    The interval is a percentile bootstrap over groups (tracks), for clips of one track resemble
    each other; one group has no interval.
    """
    kept = [
        (value, group) for value, group in zip(values, groups, strict=True) if math.isfinite(value)
    ]
    if len(kept) < 2:
        return {}
    array = np.array([value for value, _ in kept])
    found = {"median": float(np.median(array)), "std": float(array.std(ddof=1))}
    members: dict[Hashable, list[float]] = {}
    for value, group in kept:
        members.setdefault(group, []).append(value)
    if len(members) < 2:
        return found
    sums = np.array([sum(group) for group in members.values()])
    sizes = np.array([len(group) for group in members.values()])
    drawn = np.random.default_rng(0).integers(len(sums), size=(DRAWS, len(sums)))
    means = sums[drawn].sum(1) / sizes[drawn].sum(1)
    low, high = np.quantile(means, (0.025, 0.975))
    return {**found, "95 % from": float(low), "95 % to": float(high)}
