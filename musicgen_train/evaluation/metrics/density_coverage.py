"""Density and coverage (Naeem et al. 2020), precision and recall (Kynkäänniemi et al. 2019)."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.pairwise import pair_blocks

FEW_VECTORS = 100


class DensityCoverage(NamedTuple):
    """How well a set keeps to the reference and reaches it; NaN where `warnings` says why."""

    density: float  # 1 for the same distribution; may exceed 1
    coverage: float  # share of the reference with a neighbour in the set; at most 1
    precision: float  # share of the set within the reference's neighbourhoods
    recall: float  # share of the reference within the set's neighbourhoods
    warnings: tuple[str, ...]


def density_coverage(
    reference: ClipVectors,
    evaluated: ClipVectors,
    k: int = 5,
    *,
    device: str | torch.device = "cpu",
) -> DensityCoverage:
    """Compare vectors by the balls that reach to their k-th nearest neighbour in their own set.

    Give one vector a clip (`ClipVectors.clip_means`): the nearest neighbours of a window are
    those of its own clip. Memory does not grow with the square of the number of vectors. For one
    distribution and as many vectors on both sides, density is 1 and coverage 1 - 2^-k.
    """
    n, m = reference.n_vectors, evaluated.n_vectors
    if min(n, m) <= k:
        reason = f"{min(n, m)} vectors are too few for {k} neighbours each"
        return DensityCoverage(math.nan, math.nan, math.nan, math.nan, (reason,))
    radii, own_radii = _radii(reference, k, device), _radii(evaluated, k, device)
    counts = torch.zeros(m, dtype=torch.int64, device=device)
    covered, recalled = (torch.zeros(n, dtype=torch.bool, device=device) for _ in range(2))
    for a, b, squared in pair_blocks(reference, evaluated, device=device):
        inside = squared < radii[a, None]
        counts[b] += inside.sum(0)
        covered[a] |= inside.any(1)
        recalled[a] |= (squared < own_radii[b]).any(1)
    warnings = []
    if float(radii.max()) == 0:
        nan, why = float("nan"), "the reference's vectors are all alike: it has no neighbourhoods"
        return DensityCoverage(nan, nan, nan, nan, (why,))
    if min(n, m) < FEW_VECTORS:
        warnings.append(f"{min(n, m)} vectors: fewer than {FEW_VECTORS} tell little")
    if n != m:
        warnings.append(f"{m} vectors against {n}: coverage and recall grow with the former")
    return DensityCoverage(
        float(counts.double().mean() / k),
        float(covered.double().mean()),
        float((counts > 0).double().mean()),
        float(recalled.double().mean()),
        tuple(warnings),
    )


def _radii(vectors: ClipVectors, k: int, device: str | torch.device) -> Tensor:
    """Squared distance of each vector's k-th nearest neighbour: [N]."""
    found = torch.full((vectors.n_vectors, k + 1), torch.inf, dtype=torch.float64, device=device)
    for a, _, squared in pair_blocks(vectors, vectors, device=device):
        nearest = squared.topk(min(k + 1, squared.shape[1]), dim=1, largest=False).values
        both = torch.cat([found[a], nearest], 1)
        found[a] = both.topk(k + 1, dim=1, largest=False).values
    return found[:, -1]  # the nearest of k + 1 is the vector itself
