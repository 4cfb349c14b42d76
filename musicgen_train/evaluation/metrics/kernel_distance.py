"""Kernel audio distance: MMD² with a Gaussian kernel (Chung et al. 2025), times 100."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.pairwise import pair_blocks, squared_distances

SCALE = 100.0
BANDWIDTH_ROWS = 500
NORMAL = 1.96
FEW_CLIPS = 100
MIN_CLIPS = 3  # with one left out, two remain to be compared


class KernelReference(NamedTuple):
    """A reference set with what every distance to it needs, made once."""

    clips: ClipVectors
    bandwidth: float  # σ of exp(-|x - y|² / 2σ²), the median distance within the reference
    total: np.ndarray  # [n_clips] kernel sums of a clip's vectors with all vectors
    own: np.ndarray  # [n_clips] of these, the sums with vectors of the same clip

    @classmethod
    def of(
        cls,
        clips: ClipVectors,
        *,
        bandwidth: float | None = None,
        seed: int = 0,
        device: str | torch.device = "cpu",
    ) -> KernelReference:
        """The bandwidth, unless given, is the reference's own: the same for all systems."""
        bandwidth = bandwidth or median_distance(clips, seed=seed)
        return cls(clips, bandwidth, *_sums_within(clips, bandwidth, device))


class KernelDistance(NamedTuple):
    """KAD, near zero, on either side, for sets of one distribution.

    All NaN where `warnings` says why there is none.
    """

    value: float  # as kadtk: over all pairs of vectors
    between_clips: float  # leaving out pairs of one clip, which are alike and add about 1/n_clips
    sd: float  # of `between_clips`, from a jackknife over the clips of both sets
    low: float  # between_clips ± 1.96 sd
    high: float
    bandwidth: float
    warnings: tuple[str, ...]


def median_distance(clips: ClipVectors, *, seed: int = 0) -> float:
    """Median distance between two vectors of a random 500; UserError where all are alike."""
    chosen = np.random.default_rng(seed).permutation(clips.n_vectors)[:BANDWIDTH_ROWS]
    rows = torch.cat([clips.rows(i, i + 1) for i in np.sort(chosen).tolist()])
    distances = torch.nn.functional.pdist(rows)
    if len(distances) == 0 or float(distances.median()) == 0:
        raise UserError(
            "the reference's clips all sound alike, so no kernel distance can be had: give others"
        )
    return float(distances.median())


def kernel_distance(
    reference: KernelReference, clips: ClipVectors, *, device: str | torch.device = "cpu"
) -> KernelDistance:
    """Unbiased MMD² × 100 in float64; memory does not grow with the number of vectors."""
    theirs = reference.clips
    assert clips.dim == theirs.dim, (clips.dim, theirs.dim)
    few = min(clips.n_clips, theirs.n_clips)
    if few < MIN_CLIPS:
        nan, reason = (
            math.nan,
            f"{few} clips are too few for a kernel distance: at least {MIN_CLIPS}",
        )
        return KernelDistance(nan, nan, nan, nan, nan, reference.bandwidth, (reason,))
    total, own = _sums_within(clips, reference.bandwidth, device)
    cross, cross_theirs = _sums_across(clips, theirs, reference.bandwidth, device)
    n, m = clips.n_vectors, theirs.n_vectors
    within = (total.sum() - n) / (n * (n - 1))
    within_theirs = (reference.total.sum() - m) / (m * (m - 1))
    between = cross.sum() / (n * m)
    ours = _Side(total, own, cross, clips.lengths)
    other = _Side(reference.total, reference.own, cross_theirs, theirs.lengths)
    deviations = [
        ours.between_without_each() - 2 * ours.cross_without_each() / m,
        other.between_without_each() - 2 * other.cross_without_each() / n,
    ]
    sd = SCALE * math.sqrt(sum(_jackknife_variance(values) for values in deviations))
    value = SCALE * float(within + within_theirs - 2 * between)
    middle = SCALE * (ours.between() + other.between() - 2 * float(between))
    low, high = middle - NORMAL * sd, middle + NORMAL * sd
    warnings = (f"{few} clips: the interval is rough",) if few < FEW_CLIPS else ()
    return KernelDistance(value, middle, sd, low, high, reference.bandwidth, warnings)


class _Side(NamedTuple):
    """Kernel sums of each clip of one set [n_clips], and its number of vectors."""

    total: np.ndarray
    own: np.ndarray
    cross: np.ndarray
    lengths: np.ndarray

    def between(self) -> float:
        """Mean of the kernel over pairs of vectors of different clips."""
        pairs = self.lengths.sum() ** 2 - np.square(self.lengths).sum()
        return float((self.total - self.own).sum() / pairs)

    def between_without_each(self) -> np.ndarray:
        """The same, without each clip in turn."""
        others = self.total - self.own
        n, squares = self.lengths.sum(), np.square(self.lengths)
        pairs = np.square(n - self.lengths) - (squares.sum() - squares)
        return (others.sum() - 2 * others) / pairs

    def cross_without_each(self) -> np.ndarray:
        """Mean, over the remaining vectors, of their sums with the other set."""
        return (self.cross.sum() - self.cross) / (self.lengths.sum() - self.lengths)


def _jackknife_variance(values: np.ndarray) -> float:
    return float((len(values) - 1) / len(values) * np.square(values - values.mean()).sum())


def _sums_within(
    clips: ClipVectors, bandwidth: float, device: str | torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel sums of each clip with all vectors and with its own: two [n_clips]."""
    sums = torch.zeros(clips.n_vectors, dtype=torch.float64)
    for a, b, squared in pair_blocks(clips, clips, once=True, device=device):
        kernel = _kernel(squared, bandwidth)
        sums[a] += kernel.sum(1).cpu()
        if a != b:
            sums[b] += kernel.sum(0).cpu()
    own = []
    for chosen, rows in clips.clip_blocks(4096):
        for part in rows.split(clips.lengths[chosen].tolist()):
            part = part - part.mean(0)
            own.append(float(_kernel(squared_distances(part, part), bandwidth).sum()))
    return _per_clip(sums, clips), np.array(own)


def _sums_across(
    a: ClipVectors, b: ClipVectors, bandwidth: float, device: str | torch.device
) -> tuple[np.ndarray, np.ndarray]:
    """Kernel sums of each clip of either set with all vectors of the other."""
    ours, theirs = (torch.zeros(side.n_vectors, dtype=torch.float64) for side in (a, b))
    for i, j, squared in pair_blocks(a, b, device=device):
        kernel = _kernel(squared, bandwidth)
        ours[i] += kernel.sum(1).cpu()
        theirs[j] += kernel.sum(0).cpu()
    return _per_clip(ours, a), _per_clip(theirs, b)


def _kernel(squared: torch.Tensor, bandwidth: float) -> torch.Tensor:
    return squared.mul_(-1 / (2 * bandwidth**2)).exp_()


def _per_clip(sums: torch.Tensor, clips: ClipVectors) -> np.ndarray:
    return np.add.reduceat(sums.numpy(), clips.ends - clips.lengths)
