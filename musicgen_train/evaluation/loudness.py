"""Perceived loudness of a clip (ITU-R BS.1770)."""

from __future__ import annotations

import math

from torch import Tensor

GATING_BLOCK = 0.4  # seconds; a shorter clip has no loudness


def integrated_loudness(wav: Tensor, sample_rate: int) -> float:
    """Loudness of a clip [C, N] in LUFS; NaN where it is undefined.

    That is: shorter than a gating block, all of it below the gate of -70 LUFS, or at a rate too
    low for the K-weighting.
    """
    if wav.shape[-1] < GATING_BLOCK * sample_rate:
        return math.nan
    import pyloudnorm

    found = float(pyloudnorm.Meter(sample_rate).integrated_loudness(wav.T.double().numpy()))
    return found if math.isfinite(found) else math.nan
