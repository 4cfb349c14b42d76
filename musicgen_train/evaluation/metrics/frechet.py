"""Fréchet distance between two sets of embeddings, from streamed float64 statistics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

FEW_CLIPS = 1000


@dataclass
class GaussianStatistics:
    """Count, mean [D] and scatter [D, D] (sum of outer products of deviations) in float64."""

    n: int
    mean: Tensor
    scatter: Tensor

    @classmethod
    def of(cls, vectors: Tensor) -> GaussianStatistics:
        """Statistics of one block of embeddings [n, D]."""
        assert vectors.ndim == 2, f"embeddings are [n, D], got {tuple(vectors.shape)}"
        vectors = vectors.detach().to("cpu", torch.float64)
        if not torch.isfinite(vectors).all():
            raise ValueError("embeddings hold NaN or infinity: check the audio they come from")
        n, dim = vectors.shape
        mean = vectors.mean(0) if n else vectors.new_zeros(dim)
        deviations = vectors - mean
        return cls(n, mean, deviations.T @ deviations)

    def merge(self, other: GaussianStatistics) -> GaussianStatistics:
        """Statistics of both sets together (Chan et al.): exact, in any order and grouping."""
        n = self.n + other.n
        if n == 0:
            return self
        gap = other.mean - self.mean
        mean = self.mean + gap * (other.n / n)
        between = torch.outer(gap, gap) * (self.n * other.n / n)
        return GaussianStatistics(n, mean, self.scatter + other.scatter + between)

    @property
    def covariance(self) -> Tensor:
        """Unbiased covariance [D, D] (ddof = 1)."""
        if self.n < 2:
            raise ValueError(f"a covariance needs at least 2 embeddings, got {self.n}")
        return self.scatter / (self.n - 1)

    def rounded_to_float32(self) -> GaussianStatistics:
        """Mean and covariance as Google's frechet_audio_distance stores them, in float32."""
        covariance = self.covariance.float().double()
        return GaussianStatistics(self.n, self.mean.float().double(), covariance * (self.n - 1))


class FrechetReference:
    """A reference set factored once, so that each distance to it costs one `eigvalsh`.

    The covariance is R Rᵀ with R [D, r], r its rank, which is below D for fewer vectors than
    dimensions. For a covariance S, tr (R Rᵀ S)^½ is the sum of the roots of the eigenvalues of
    Rᵀ S R: symmetric, so no complex numbers arise and no epsilon is needed.
    """

    def __init__(self, statistics: GaussianStatistics, float32_statistics: bool = False) -> None:
        """float32_statistics: round both sides of every distance as Google's code does."""
        self.float32_statistics = float32_statistics
        self.statistics = statistics.rounded_to_float32() if float32_statistics else statistics
        covariance = self.statistics.covariance
        values, vectors = torch.linalg.eigh(covariance)
        kept = values > _rounding(values)
        self.factor = vectors[:, kept] * values[kept].sqrt()  # R
        self.trace = float(covariance.trace())

    def distance(self, other: GaussianStatistics) -> float:
        """Squared Fréchet distance |m - m'|² + tr (S + S' - 2 (S S')^½) (Heusel et al. 2017)."""
        mean = self.statistics.mean
        assert mean.shape == other.mean.shape, (tuple(mean.shape), tuple(other.mean.shape))
        other = other.rounded_to_float32() if self.float32_statistics else other
        covariance = other.covariance
        product = self.factor.T @ covariance @ self.factor
        # eigvalsh reads one triangle: symmetrise, so that both orders round alike.
        eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2)
        # What is below rounding is zero, and the root would make 1e-8 of 1e-16.
        roots = eigenvalues[eigenvalues > _rounding(eigenvalues)].sqrt()
        shift = float((mean - other.mean).square().sum())
        return shift + self.trace + float(covariance.trace()) - 2 * float(roots.sum())


def frechet_distance(
    a: GaussianStatistics, b: GaussianStatistics, float32_statistics: bool = False
) -> float:
    """Squared Fréchet distance between two Gaussians; see `FrechetReference` for many to one."""
    return FrechetReference(a, float32_statistics).distance(b)


def frechet_warnings(n_clips: int, n_vectors: int, dim: int) -> tuple[str, ...]:
    """What a record must say of a Fréchet distance over one set of so many clips and vectors."""
    found = []
    if n_clips < FEW_CLIPS:
        found.append(f"{n_clips} clips are fewer than {FEW_CLIPS}: the distance is biased upward")
    if n_vectors <= dim:
        found.append(f"{n_vectors} vectors of {dim} dimensions have a singular covariance")
    return tuple(found)


def _rounding(eigenvalues: Tensor) -> float:
    """Size of the errors that `eigh` makes in eigenvalues that are in ascending order."""
    if not len(eigenvalues):
        return 0.0
    largest = float(eigenvalues[-1].clamp(min=0))
    return largest * len(eigenvalues) * torch.finfo(torch.float64).eps
