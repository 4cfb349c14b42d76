"""How well a codec keeps the waveform, and how well it uses its codebooks."""

from __future__ import annotations

import math

import torch
from torch import Tensor

SI_SDR_LIMIT = 100.0  # dB; beyond lies the rounding of 16-bit files and of float32


def si_sdr(estimate: Tensor, target: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, each channel alone: [..., N] -> [...].

    Means are removed first, so that a constant offset, which nobody hears, costs nothing. Values
    are kept within ±100 dB: a copy has 100. A silent estimate has nothing of the target and gets
    -100; so does a silent target, for which the ratio is undefined: leave those out.
    """
    estimate = estimate.double() - estimate.double().mean(-1, keepdim=True)
    target = target.double() - target.double().mean(-1, keepdim=True)
    tiny = torch.finfo(torch.float64).tiny
    scale = (estimate * target).sum(-1) / target.square().sum(-1).clamp(min=tiny)
    projection = scale[..., None] * target
    signal = projection.square().sum(-1)
    distortion = (estimate - projection).square().sum(-1)
    ratio = 10 * torch.log10(signal.clamp(min=tiny) / distortion.clamp(min=tiny))
    return torch.where(signal <= tiny, -math.inf, ratio).clamp(-SI_SDR_LIMIT, SI_SDR_LIMIT)


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


def entropy_bitrate(counts: Tensor, frame_rate: float) -> float:
    """Bits per second of an ideal coder of single codes: counts [K, card], codes/s -> bit/s.

    It knows how frequent each code is and nothing of its neighbours, so codes in their order can
    take less still.
    """
    return float(unigram_entropy(counts).sum()) / math.log(2) * frame_rate
