"""Fréchet distance between two sets of embeddings, from streamed float64 statistics."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor


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


def frechet_distance(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """Squared Fréchet distance |ma - mb|² + tr(Sa + Sb - 2 (Sa Sb)^½) between two Gaussians.

    The trace of the root is the sum of the roots of the eigenvalues of Ra Sb Ra with
    Ra = Sa^½: symmetric, so no complex numbers arise and no epsilon is needed when n < D.
    """
    assert a.mean.shape == b.mean.shape, f"{tuple(a.mean.shape)} against {tuple(b.mean.shape)}"
    cov_a, cov_b = a.covariance, b.covariance
    values, vectors = torch.linalg.eigh(cov_a)
    root = (vectors * values.clamp(min=0).sqrt()) @ vectors.T
    product = root @ cov_b @ root
    # eigvalsh reads one triangle: symmetrise, so that both orders round alike.
    eigenvalues = torch.linalg.eigvalsh((product + product.T) / 2).clamp(min=0)
    trace_root = eigenvalues.sqrt().sum()
    squared = (a.mean - b.mean).square().sum() + cov_a.trace() + cov_b.trace() - 2 * trace_root
    return float(squared)
