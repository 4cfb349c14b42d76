"""Does the sound match the text? Cosines of CLAP embeddings (Wu et al. 2023)."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F


def clap_scores(audio: Sequence[Tensor], text: Tensor) -> Tensor:
    """Mean cosine over the windows of each clip, [W_i, D], with its text, [n, D]: -> [n] float64.

    Vectors need not be of unit length. A clip without a window scores NaN.
    """
    return (_mean_directions(audio, text) * _directions(text)).sum(1)


def _mean_directions(audio: Sequence[Tensor], text: Tensor) -> Tensor:
    """The mean unit vector of each clip's windows, [n, D]."""
    assert len(audio) == len(text), (len(audio), len(text))
    if not audio:
        return text.new_zeros(text.shape, dtype=torch.float64)
    return torch.stack([_directions(windows).mean(0) for windows in audio])


def _directions(vectors: Tensor) -> Tensor:
    assert vectors.ndim == 2, vectors.shape
    return F.normalize(vectors.double(), dim=1)
