"""Melody as chroma: how much each of the 12 pitch classes sounds, frame by frame."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class ChromaExtractor(nn.Module):
    """Audio -> chroma with C as bin 0, each frame divided by its largest bin."""

    hann: Tensor
    bank: Tensor

    def __init__(
        self, sample_rate: int, n_chroma: int = 12, window: int = 16384, hop: int = 4096
    ) -> None:
        super().__init__()
        self.config = {
            "sample_rate": sample_rate,
            "n_chroma": n_chroma,
            "window": window,
            "hop": hop,
        }
        self.sample_rate = sample_rate
        self.n_chroma = n_chroma
        self.window = window
        self.hop = hop
        # Both follow from the arguments, so neither belongs in a checkpoint.
        hann = torch.hann_window(window)
        self.register_buffer("hann", hann / hann.norm(), persistent=False)
        self.register_buffer("bank", chroma_bank(sample_rate, window, n_chroma), persistent=False)

    def n_frames(self, n_samples: int) -> int:
        """Chroma frames that `n_samples` samples give."""
        return max(n_samples, self.window) // self.hop + 1

    def forward(self, wav: Tensor) -> Tensor:
        """[B, C, N] -> [B, F, n_chroma] in [0, 1]; silent frames are all zero."""
        mono = wav.mean(dim=1)
        missing = max(0, self.window - mono.shape[-1])
        mono = F.pad(mono, (missing // 2, missing - missing // 2))
        spectrum = torch.stft(
            mono, self.window, self.hop, window=self.hann, center=True, return_complex=True
        )
        chroma = self.bank @ spectrum.abs().square()
        peak = chroma.amax(dim=1, keepdim=True).clamp(min=1e-6)
        return (chroma / peak).transpose(1, 2)


def one_hot(chroma: Tensor) -> Tensor:
    """Keep only each frame's loudest bin, as 1: [B, F, 12] -> [B, F, 12].

    An all-zero frame becomes bin 0. That is the null chroma the released melody models know,
    so a sample without melody is marked by zeros in the dense chroma.
    """
    return F.one_hot(chroma.argmax(dim=-1), chroma.shape[-1]).to(chroma.dtype)


def fit_length(chroma: Tensor, n_frames: int) -> Tensor:
    """Repeat or cut [B, F, 12] to exactly `n_frames` frames."""
    repeats = math.ceil(n_frames / chroma.shape[1])
    return chroma.repeat(1, repeats, 1)[:, :n_frames]


def chroma_bank(sample_rate: int, n_fft: int, n_chroma: int) -> Tensor:
    """Weights from FFT bins to pitch classes, A at 440 Hz: [n_chroma, n_fft // 2 + 1].

    Each FFT bin is a Gaussian bump around its pitch class, as wide as the bin is in semitones:
    low bins, which straddle several notes, spread over them. Octaves far from C5 count less.
    """
    hertz = torch.arange(1, n_fft, dtype=torch.float64) * sample_rate / n_fft
    pitch = n_chroma * torch.log2(hertz / 27.5)  # in chroma bins above A0
    # 0 Hz has no pitch: placed 1.5 octaves below bin 1 it is too faint to matter.
    pitch = torch.cat([pitch[:1] - 1.5 * n_chroma, pitch])
    width = torch.cat([pitch.diff().clamp(min=1.0), torch.ones(1, dtype=torch.float64)])

    half = round(n_chroma / 2)
    distance = pitch - torch.arange(n_chroma, dtype=torch.float64)[:, None]
    distance = torch.remainder(distance + half, n_chroma) - half
    bank = F.normalize(torch.exp(-0.5 * (2 * distance / width) ** 2), dim=0)
    bank = bank * torch.exp(-0.5 * ((pitch / n_chroma - 5.0) / 2.0) ** 2)
    bank = bank.roll(-3 * (n_chroma // 12), dims=0)  # from A first to C first
    return bank[:, : n_fft // 2 + 1].float()
