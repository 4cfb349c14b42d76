"""What a codec loses and how well it uses its codebooks."""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor

MEL_SCALES = ((512, 40), (1024, 64), (2048, 80))  # FFT size in samples, number of mel bands


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, means removed: [..., N] -> [...].

    The mean is removed first, so that a constant offset, which nobody hears, costs nothing.
    """
    estimate = estimate.double() - estimate.double().mean(-1, keepdim=True)
    target = target.double() - target.double().mean(-1, keepdim=True)
    tiny = torch.finfo(torch.float64).tiny
    scale = (estimate * target).sum(-1) / target.square().sum(-1).clamp(min=tiny)
    projection = scale[..., None] * target
    noise = estimate - projection
    signal, distortion = projection.square().sum(-1), noise.square().sum(-1)
    return 10 * torch.log10(signal.clamp(min=tiny) / distortion.clamp(min=tiny))


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
    shape, n_samples = wav.shape[:-1], wav.shape[-1]
    padded = torch.nn.functional.pad(wav.reshape(-1, n_samples), (0, max(0, n_fft - n_samples)))
    window = torch.hann_window(n_fft, device=wav.device)
    spectrum = torch.stft(padded, n_fft, n_fft // 4, window=window, return_complex=True).abs()
    mels = mel_filterbank(sample_rate, n_fft, n_mels).to(wav.device).T @ spectrum
    return mels.clamp(min=1e-5).log().reshape(*shape, n_mels, -1)


def mel_distance(estimate: Tensor, target: Tensor, sample_rate: int) -> Tensor:
    """Mean |Δ log-mel| in nats over three resolutions: two wavs [B, C, N] -> [B]."""
    assert estimate.shape == target.shape, (estimate.shape, target.shape)
    distances = [
        (log_mel(estimate, sample_rate, *scale) - log_mel(target, sample_rate, *scale))
        .abs()
        .flatten(1)
        .mean(1)
        for scale in MEL_SCALES
    ]
    return torch.stack(distances).mean(0)


def code_counts(codes: Tensor, card: int) -> Tensor:
    """How often each entry is used: codes [B, K, T] -> [K, card]."""
    flat = codes.transpose(0, 1).flatten(1)
    return torch.stack([torch.bincount(row, minlength=card) for row in flat])


def unigram_entropy(counts: Tensor) -> Tensor:
    """Entropy in nats per codebook, Miller–Madow corrected: counts [K, card] -> [K].

    The plug-in entropy of n draws is too low by about (entries seen - 1) / 2n; the correction
    is capped at ln(card), which no distribution over card entries can exceed.
    """
    counts = counts.double()
    total = counts.sum(-1, keepdim=True)
    if (total == 0).any():
        raise ValueError("no codes to count: the set of clips is empty")
    p = counts / total
    plug_in = -torch.xlogy(p, p).sum(-1)
    correction = ((counts > 0).sum(-1) - 1) / (2 * total[:, 0])
    return (plug_in + correction).clamp(max=math.log(counts.shape[-1]))


def perplexity(counts: Tensor) -> Tensor:
    """Effective number of entries in use per codebook: counts [K, card] -> [K]."""
    return unigram_entropy(counts).exp()


def usage(counts: Tensor) -> Tensor:
    """Share of entries used at least once per codebook: counts [K, card] -> [K]."""
    return (counts > 0).double().mean(-1)


def bitrate(n_q: int, card: int, frame_rate: float) -> float:
    """Nominal bits per second: n_q codes of log2(card) bits, frame_rate times a second."""
    return n_q * math.log2(card) * frame_rate
