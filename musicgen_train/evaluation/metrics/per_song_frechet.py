"""Fréchet distance of each clip's own vectors from a reference set (Gui et al. 2024)."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference


def clip_frechet_distance(reference: FrechetReference, vectors: Tensor) -> float:
    """Distance of one clip's vectors [W, D]; NaN for fewer than two, which have no covariance.

    With centred vectors Y = √(W-1) Q and the reference's covariance R Rᵀ, tr (R Rᵀ QᵀQ)^½ is the
    sum of the singular values of Q R [W, r]: no D × D matrix is made.
    """
    if len(vectors) < 2:
        return float("nan")
    vectors = vectors.detach().to("cpu", torch.float64)
    if not torch.isfinite(vectors).all():
        raise ValueError("embeddings hold NaN or infinity: check the audio they come from")
    mean = vectors.mean(0)
    scaled = (vectors - mean) / (len(vectors) - 1) ** 0.5  # Q
    trace_root = torch.linalg.svdvals(scaled @ reference.factor).sum()
    shift = (mean - reference.statistics.mean).square().sum()
    return float(shift + reference.trace + scaled.square().sum() - 2 * trace_root)


def per_song_frechet(reference: FrechetReference, clips: ClipVectors) -> np.ndarray:
    """Distance of every clip: [n_clips], NaN for clips of fewer than two vectors."""
    found = []
    for chosen, rows in clips.clip_blocks(4096):
        for own in rows.split(clips.lengths[chosen].tolist()):
            found.append(clip_frechet_distance(reference, own))
    return np.array(found)
