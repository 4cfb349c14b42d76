"""The gain of a clip before an embedder hears it: log-mels hear level as much as music."""

from __future__ import annotations

import torch
from torch import Tensor

from musicgen_train.data.loudness import normalize_audio

TARGET_RMS = 0.1  # -20 dBFS over the whole clip
MAX_GAIN = 100.0  # +40 dB: silence stays silence instead of becoming amplified noise
LEAST_PEAK = 0.1  # what Google's code divides by at least


def level_rms(mono: Tensor, target_rms: float = TARGET_RMS, max_gain: float = MAX_GAIN) -> Tensor:
    """One RMS for every clip [N], whoever recorded it, amplified at most max_gain times: -> [N]."""
    assert mono.ndim == 1, f"a mono clip is [N], got {tuple(mono.shape)}"
    rms = mono.square().mean().sqrt() if mono.numel() else mono.new_zeros(())
    return mono * min(max_gain, target_rms / max(float(rms), 1e-9))


def level_google(mono: Tensor) -> Tensor:
    """What Google's FAD code makes of the files that audiocraft writes for it: [N] -> [N] float64.

    audiocraft's FAD writes 16-bit WAVs with the peak at -1 dBFS; Google's AudioSetModel reads
    their integers and divides by the highest sample, in double precision. The highest, not the
    largest: where the negative peak is larger, samples go below -1. And the divisor is at least
    0.1 of one step, so that the slightest noise comes out at full scale. Silence, on which
    audiocraft divides by zero and writes NaN, stays zeros here.
    """
    assert mono.ndim == 1, f"a mono clip is [N], got {tuple(mono.shape)}"
    if mono.numel() == 0:
        return mono.double()
    peaked = normalize_audio(mono[None].float(), 16_000, strategy="peak")[0]
    # ffmpeg and torchaudio round halves to even, as torch does; -1 dBFS is far from overflow.
    steps = torch.round(peaked.double() * 2**15)
    return steps / max(LEAST_PEAK, float(steps.max()))
