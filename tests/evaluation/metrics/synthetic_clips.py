"""Sets of clips whose true Fréchet distance is known."""

from __future__ import annotations

import numpy as np
import torch

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference, GaussianStatistics


class Population:
    """Clips of Gaussian windows, axis i of variance ∝ i^-decay, alike within a clip.

    The reference is centred; what is evaluated is wider by `scale` and shifted by `shift`.
    """

    def __init__(
        self,
        dim: int,
        *,
        windows: int = 1,
        correlation: float = 0.0,
        decay: float = 1.0,
        variance: float = 0.2,  # mean over the axes
        scale: float = 1.05,
        shift: float = 0.2,
    ) -> None:
        spectrum = np.arange(1, dim + 1) ** -decay
        self.deviations = np.sqrt(spectrum * (variance * dim / spectrum.sum()))
        self.windows, self.correlation = windows, correlation
        self.scale, self.shift = scale, np.full(dim, shift / dim**0.5)
        self.distance = shift**2 + float(np.square(self.deviations).sum()) * (scale - 1) ** 2

    def reference(self) -> FrechetReference:
        """The population itself, of infinitely many clips."""
        n = 10**9
        scatter = torch.diag(torch.as_tensor(np.square(self.deviations))) * (n - 1)
        mean = torch.zeros(len(self.deviations), dtype=torch.float64)
        return FrechetReference(GaussianStatistics(n, mean, scatter))

    def reference_clips(self, n_clips: int, rng: np.random.Generator) -> ClipVectors:
        """Clips of the reference."""
        shape = (n_clips, self.windows, len(self.deviations))
        common = rng.standard_normal((n_clips, 1, shape[-1])) * self.correlation**0.5
        own = rng.standard_normal(shape) * (1 - self.correlation) ** 0.5
        values = (common + own) * self.deviations
        return ClipVectors(values.reshape(-1, shape[-1]), [self.windows] * n_clips)

    def clips(self, n_clips: int, rng: np.random.Generator) -> ClipVectors:
        """Clips at `distance` from the reference."""
        found = self.reference_clips(n_clips, rng)
        return ClipVectors(found.values * self.scale + self.shift, found.lengths)
