"""Distances between all vectors of two sets, a block at a time."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors

BLOCK = 2048  # vectors on a side: 32 MiB of distances
ROUNDING = 1e-14  # of the largest squared length


class Pairs(NamedTuple):
    """Squared distances [a, b] between two runs of rows, and which these are."""

    a: slice
    b: slice
    squared: Tensor


def pair_blocks(
    a: ClipVectors, b: ClipVectors, *, once: bool = False, device: str | torch.device = "cpu"
) -> Iterator[Pairs]:
    """Squared distances of all pairs, in float64; all blocks of one `a` come in succession.

    once: `a` and `b` are one set, and of two blocks that mirror each other only one is wanted.
    """
    # Vectors far from zero would lose digits in x² + y² - 2xy.
    centre = b.rows(0, min(BLOCK, b.n_vectors)).mean(0)
    for i in range(0, a.n_vectors, BLOCK):
        ours = slice(i, min(i + BLOCK, a.n_vectors))
        x = (a.rows(ours.start, ours.stop) - centre).to(device)
        for j in range(i if once else 0, b.n_vectors, BLOCK):
            theirs = slice(j, min(j + BLOCK, b.n_vectors))
            y = (b.rows(theirs.start, theirs.stop) - centre).to(device)
            yield Pairs(ours, theirs, squared_distances(x, y))


def squared_distances(x: Tensor, y: Tensor) -> Tensor:
    """|x - y|² of float64 rows [a, D] and [b, D] -> [a, b]; what is rounding counts as zero."""
    x_squared, y_squared = (side.square().sum(-1, keepdim=True) for side in (x, y))
    # |x|² + |y|² - 2xy in one product, without a second matrix of the result's size.
    left = torch.cat([-2 * x, x_squared, torch.ones_like(x_squared)], 1)
    right = torch.cat([y, torch.ones_like(y_squared), y_squared], 1)
    rounding = ROUNDING * float(x_squared.max() + y_squared.max())
    return torch.threshold_(left @ right.T, rounding, 0.0)
