"""Where a clip is silent, and for how long."""

from __future__ import annotations

import torch
from torch import Tensor

SILENCE_RMS = 1e-3  # of full scale: -60 dBFS
BLOCK = 0.1  # seconds


def block_levels(wav: Tensor, sample_rate: int) -> Tensor:
    """RMS of every whole block of 0.1 s of a clip [C, N], channels together: [blocks] float64.

    Samples that are not finite count as 0.
    """
    square = torch.nan_to_num(wav.double(), posinf=0.0, neginf=0.0).square().mean(0)
    size = max(1, round(BLOCK * sample_rate))
    n_blocks = len(square) // size
    return square[: n_blocks * size].view(n_blocks, size).mean(1).sqrt()


def longest_silence(levels: Tensor) -> float:
    """Seconds of the longest stretch of blocks [n] below -60 dBFS."""
    longest = here = 0
    for silent in (levels < SILENCE_RMS).tolist():
        here = here + 1 if silent else 0
        longest = max(longest, here)
    return longest * BLOCK
