"""How far two sounds are apart in the spectrum, at several resolutions.

The frames are those of a centred STFT over the whole signal, made a block at a time: an hour of
audio needs no more memory than its samples and one block.
"""

from __future__ import annotations

import functools
import math
from collections.abc import Iterator
from typing import NamedTuple

import torch
from torch import Tensor

MEL_SCALES = ((512, 40), (1024, 64), (2048, 80))  # FFT size in samples, number of mel bands
# FFT size, hop and window in samples, as in Parallel WaveGAN (Yamamoto et al. 2020).
STFT_SCALES = ((512, 50, 240), (1024, 120, 600), (2048, 240, 1200))
MEL_FLOOR, STFT_FLOOR = 1e-5, 1e-4  # magnitudes below count as this much
BLOCK_FRAMES = 2048


class StftDistance(NamedTuple):
    """The two parts of the multi-resolution STFT distance of Parallel WaveGAN, each [B]."""

    convergence: Tensor  # ‖Δ magnitude‖ / ‖target's magnitude‖
    log_magnitude: Tensor  # mean |Δ log magnitude| in nats


@functools.lru_cache(maxsize=16)
def mel_filterbank(sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Triangular filters [n_fft // 2 + 1, n_mels], equally spaced on the HTK mel scale."""

    def hertz_to_mel(hertz: float) -> float:
        return 2595.0 * math.log10(1.0 + hertz / 700.0)

    mels = torch.linspace(0.0, hertz_to_mel(sample_rate / 2), n_mels + 2, dtype=torch.float64)
    edges = 700.0 * (10.0 ** (mels / 2595.0) - 1.0)
    bins = torch.linspace(0, sample_rate / 2, n_fft // 2 + 1, dtype=torch.float64)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0).float()


def log_mel(wav: Tensor, sample_rate: int, n_fft: int, n_mels: int) -> Tensor:
    """Natural log of mel magnitudes, floor 1e-5: wav [..., N] -> [..., n_mels, frames]."""
    return torch.cat(list(_log_mel_blocks(wav, sample_rate, n_fft, n_mels)), -1)


def mel_distance(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Mean |Δ log-mel| in nats over three resolutions: two wavs [B, C, N] -> [B]."""
    assert estimate.shape == target.shape, (estimate.shape, target.shape)
    distances = []
    for scale in MEL_SCALES:
        total, n = torch.zeros(len(target), dtype=torch.float64, device=target.device), 0
        sides = (_log_mel_blocks(wav, sample_rate, *scale) for wav in (estimate, target))
        for ours, theirs in zip(*sides, strict=True):
            total += (ours - theirs).abs().double().flatten(1).sum(1)
            n += ours[0].numel()
        distances.append(total / n)
    return torch.stack(distances).mean(0).float()


def stft_distance(estimate: Tensor, target: Tensor) -> StftDistance:
    """Both parts as means over three resolutions: two wavs [B, C, N] -> two [B].

    The channels of an item are taken together. Against silence the convergence, a ratio to the
    target's energy, only tells how far the estimate is above the floor.
    """
    assert estimate.shape == target.shape, (estimate.shape, target.shape)
    convergence, log_magnitude = [], []
    for scale in STFT_SCALES:
        totals, n = torch.zeros(3, len(target), dtype=torch.float64, device=target.device), 0
        sides = (_magnitude_blocks(wav, *scale) for wav in (estimate, target))
        for blocks in zip(*sides, strict=True):
            ours, theirs = (block.clamp(min=STFT_FLOOR) for block in blocks)
            parts = (ours - theirs).square(), theirs.square(), (ours.log() - theirs.log()).abs()
            totals += torch.stack([part.double().flatten(1).sum(1) for part in parts])
            n += ours[0].numel()
        convergence.append((totals[0] / totals[1]).sqrt())
        log_magnitude.append(totals[2] / n)
    means = (torch.stack(parts).mean(0).float() for parts in (convergence, log_magnitude))
    return StftDistance(*means)


def _log_mel_blocks(wav: Tensor, sample_rate: int, n_fft: int, n_mels: int) -> Iterator[Tensor]:
    """Successive frames of the log-mel spectrogram: wav [..., N] -> [..., n_mels, f]."""
    filters = mel_filterbank(sample_rate, n_fft, n_mels).to(wav.device).T
    for magnitude in _magnitude_blocks(wav, n_fft, n_fft // 4, n_fft):
        yield (filters @ magnitude).clamp(min=MEL_FLOOR).log()


def _magnitude_blocks(wav: Tensor, n_fft: int, hop: int, window: int) -> Iterator[Tensor]:
    """Successive frames of |STFT|, centred, with a Hann window: wav [..., N] -> [..., bins, f].

    Signals shorter than n_fft are filled up with silence.
    """
    shape, n_samples = wav.shape[:-1], max(wav.shape[-1], n_fft)
    flat = wav.reshape(-1, wav.shape[-1])
    flat = torch.nn.functional.pad(flat, (0, n_samples - wav.shape[-1]))
    flat = torch.nn.functional.pad(flat, (n_fft // 2, n_fft // 2), mode="reflect")
    n_frames = 1 + n_samples // hop
    hann = torch.hann_window(window, device=wav.device)
    for first in range(0, n_frames, BLOCK_FRAMES):
        last = min(first + BLOCK_FRAMES, n_frames) - 1
        block = flat[:, first * hop : last * hop + n_fft]
        spectrum = torch.stft(
            block, n_fft, hop, window, hann, center=False, return_complex=True
        ).abs()
        yield spectrum.reshape(*shape, *spectrum.shape[1:])
