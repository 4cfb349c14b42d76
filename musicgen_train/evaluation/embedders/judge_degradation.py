"""Worn copies of training windows, so that the judge hears the music through its artefacts.

A listener names the instrument on a bad telephone line, too. The wear is generic (tone control,
band limit, smeared spectra, scrambled phase, noise); no codec or generator takes part in it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.nn import functional as F

N_FFT, HOP = 1024, 256


def degrade(window: Tensor, generator: torch.Generator) -> Tensor:
    """Wear one window [N] by random amounts: -> [N] of the same RMS."""

    def uniform(low: float, high: float) -> float:
        return low + (high - low) * float(torch.rand((), generator=generator))

    hann = torch.hann_window(N_FFT)
    spectrum = torch.stft(window, N_FFT, HOP, window=hann, return_complex=True)
    magnitude = smear(spectrum.abs(), uniform(0, 1), uniform(0, 1))
    magnitude = magnitude * tone(len(magnitude), uniform(0, 6), uniform(0.25, 1.2), generator)
    scramble = uniform(0, math.pi) * torch.randn(spectrum.shape, generator=generator)
    worn = torch.polar(magnitude, spectrum.angle() + scramble)
    wav = torch.istft(worn, N_FFT, HOP, window=hann, length=len(window))
    rms = window.square().mean().sqrt()
    wav = wav * (rms / wav.square().mean().sqrt().clamp(min=1e-6))
    noise = torch.randn(wav.shape, generator=generator) * rms * 10 ** -uniform(0.4, 2.0)
    return (wav + noise) * (rms / (wav + noise).square().mean().sqrt().clamp(min=1e-6))


def smear(magnitude: Tensor, across_bins: float, across_frames: float) -> Tensor:
    """Mix magnitudes [bins, frames] with their mean over 5 neighbours, along each axis."""
    pooled = magnitude[None, None]
    for share, kernel in ((across_bins, (5, 1)), (across_frames, (1, 5))):
        padding = (kernel[0] // 2, kernel[1] // 2)
        pooled = torch.lerp(pooled, F.avg_pool2d(pooled, kernel, 1, padding), share)
    return pooled[0, 0]


def tone(n_bins: int, decibels: float, cutoff: float, generator: torch.Generator) -> Tensor:
    """Gain per bin [bins, 1]: eight random steps of `decibels`, joined, then a band limit.

    `cutoff` is a share of the bandwidth, 1 or more for none; above it the gain falls 60 dB within
    a tenth of the bandwidth.
    """
    steps = decibels * torch.randn(1, 1, 8, generator=generator)
    curve = F.interpolate(steps, n_bins, mode="linear")[0, 0]
    above = (torch.linspace(0, 1, n_bins) - cutoff).clamp(min=0)
    return (10 ** ((curve - (600 * above).clamp(max=60)) / 20))[:, None]
