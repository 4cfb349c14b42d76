"""Reconstruction losses of codec training; each takes (estimate, reference), both [B, C, N]."""

import math
import warnings

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks


class MelSpectrogram(nn.Module):
    """Mel power with centred, whole frames: [B, C, N] -> [B, C, n_mels, ceil(N / hop)]."""

    window: Tensor
    filters: Tensor

    def __init__(self, sample_rate: int, n_fft: int, hop: int, n_mels: int, f_min: float):
        super().__init__()
        self.n_fft = n_fft
        self.hop = hop
        with warnings.catch_warnings():
            # Short windows have fewer bins than mels: some filters stay empty, as in the reference.
            warnings.filterwarnings("ignore", message="At least one mel filterbank")
            filters = melscale_fbanks(n_fft // 2 + 1, f_min, sample_rate / 2, n_mels, sample_rate)
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        self.register_buffer("filters", filters.t().contiguous(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        B, C, _ = wav.shape
        side = (self.n_fft - self.hop) // 2
        padded = F.pad(wav, (side, side), mode="reflect")
        n_frames = math.ceil((padded.shape[-1] - self.n_fft) / self.hop) + 1
        whole = (n_frames - 1) * self.hop + self.n_fft
        padded = F.pad(padded, (0, whole - padded.shape[-1])).flatten(0, 1)
        spectrum = torch.stft(
            padded, self.n_fft, self.hop, window=self.window, center=False, return_complex=True
        )
        # Divided by the window's energy, so that all window sizes see noise at the same level.
        power = torch.view_as_real(spectrum).square().sum(-1) / self.window.square().sum()
        return (self.filters @ power).unflatten(0, (B, C))


class MultiScaleMel(nn.Module):
    """L1 of mel power plus squared error of its log10, over several window sizes.

    As audiocraft's `msspec`: windows 2^6 … 2^10, hop a quarter window, summed over scales and
    divided by the number of terms.
    """

    def __init__(
        self,
        sample_rate: int,
        *,
        range_start: int = 6,
        range_end: int = 11,
        n_mels: int = 64,
        f_min: float = 64.0,
        floor: float = 1e-5,
    ):
        super().__init__()
        self.floor = floor
        self.scales = nn.ModuleList(
            MelSpectrogram(sample_rate, 2**i, 2**i // 4, n_mels, f_min)
            for i in range(range_start, range_end)
        )

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        both = torch.cat([estimate, reference])
        loss = estimate.new_zeros(())
        for scale in self.scales:
            ours, theirs = scale(both).chunk(2)
            logs = F.mse_loss((ours + self.floor).log10(), (theirs + self.floor).log10())
            loss = loss + F.l1_loss(ours, theirs) + logs
        return loss / (2 * len(self.scales))
