"""A clip as most embedders take it: finite samples of one channel at a rate of theirs."""

from __future__ import annotations

import math
from functools import lru_cache

import torch
from torch import Tensor, nn

from musicgen_train.data.audio import resample

LARGEST_FILTER = 20_000_000  # taps; 44.1 kHz to 16 kHz has 70 thousand

MONO_PROTOCOL: dict[str, object] = {
    "channels": "mean, before the rate is changed",
    "resampler": "soxr HQ",
    "not_finite": "samples taken as 0",
}

COMPAT_PROTOCOL: dict[str, object] = {  # what audiocraft does otherwise
    "channels": "mean, after the rate is changed",
    "resampler": "julius 24/0.945",
}


def finite(wav: Tensor) -> Tensor:
    """A clip [C, N] in float32 on the CPU; NaN and infinite samples become 0."""
    assert wav.ndim == 2, f"a clip is [C, N], got {tuple(wav.shape)}"
    return torch.nan_to_num(wav.detach().cpu().float(), nan=0.0, posinf=0.0, neginf=0.0)


def to_mono(wav: Tensor, sample_rate: int, to_rate: int) -> Tensor:
    """The mean of the channels of a clip at another rate, as MONO_PROTOCOL says: [C, N] -> [N']."""
    return resample(finite(wav).mean(0), sample_rate, to_rate)


def resample_as_audiocraft(wav: Tensor, sample_rate: int, to_rate: int) -> Tensor:
    """Change the rate of a wav [..., N] by julius, as audiocraft's `convert_audio` does.

    For two rates that share no large factor its filter would take gigabytes: soxr serves there.
    """
    shared = math.gcd(int(sample_rate), to_rate)
    if not wav.shape[-1] or sample_rate * to_rate / shared**2 > LARGEST_FILTER:
        return resample(wav, sample_rate, to_rate)
    return _julius(int(sample_rate), to_rate)(wav)


@lru_cache(maxsize=8)  # julius would compute the filter again for each clip
def _julius(sample_rate: int, to_rate: int) -> nn.Module:
    from julius.resample import ResampleFrac

    return ResampleFrac(sample_rate, to_rate)
