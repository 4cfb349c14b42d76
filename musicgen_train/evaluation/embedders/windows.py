"""Windows of a clip, and clips that are too short for one."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def covering_windows(mono: Tensor, size: int, hop: int) -> Tensor:
    """Windows [W, size] of a clip [N], `hop` samples apart, the last one at the end of the clip.

    So all of it is heard, whatever the hop.
    """
    assert mono.ndim == 1 and 0 < size <= len(mono) and hop > 0, (mono.shape, size, hop)
    last = len(mono) - size
    return torch.stack([mono[start : start + size] for start in (*range(0, last, hop), last)])


def repeat_to_fill(mono: Tensor, size: int) -> Tensor:
    """Repeat a clip [N] shorter than `size` until it is as long; nothing at all is silence."""
    if len(mono) == 0:
        return mono.new_zeros(size)
    if len(mono) >= size:
        return mono
    return mono.repeat(math.ceil(size / len(mono)))[:size]
