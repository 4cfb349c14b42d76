"""Perceived loudness of a clip (ITU-R BS.1770)."""

from __future__ import annotations

import math

from torch import Tensor

GATING_BLOCK = 0.4  # seconds; a shorter clip has no loudness
MOST_CHANNELS = 5
LOWEST_RATE = 4000  # Hz; the K-weighting's shelf is at 1500 Hz, and unstable above half the rate


def integrated_loudness(wav: Tensor, sample_rate: int) -> float:
    """Loudness of a clip [C, N] in LUFS; NaN where it is undefined.

    That is: shorter than a gating block, all of it below the gate of -70 LUFS, at a rate below
    4 kHz, or of more than 5 channels, for which BS.1770 has no weights.
    """
    if (
        len(wav) > MOST_CHANNELS
        or wav.shape[-1] < GATING_BLOCK * sample_rate
        or sample_rate < LOWEST_RATE
    ):
        return math.nan
    import pyloudnorm

    found = float(pyloudnorm.Meter(sample_rate).integrated_loudness(wav.T.double().numpy()))
    return found if math.isfinite(found) else math.nan
