"""Reconstruction losses of codec training; each takes (estimate, reference), both [B, C, N].

All equal audiocraft's losses of the same names: `l1` and `l2` are torch's own.
"""

import math
import warnings
from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torchaudio.functional import melscale_fbanks

from musicgen_train.errors import UserError


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


class LogMel(nn.Module):
    """L1 of log10 mel power at one window size: `mel`."""

    def __init__(
        self,
        sample_rate: int,
        *,
        n_fft: int = 1024,
        n_mels: int = 64,
        f_min: float = 64.0,
        floor: float = 1e-5,
    ):
        super().__init__()
        self.floor = floor
        self.mel = MelSpectrogram(sample_rate, n_fft, n_fft // 4, n_mels, f_min)

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        ours, theirs = (self.mel(torch.cat([estimate, reference])) + self.floor).log10().chunk(2)
        return F.l1_loss(ours, theirs)


class NegativeSISNR(nn.Module):
    """Minus the scale-invariant signal-to-noise ratio in dB, mean over half overlapping segments.

    Segments have their mean removed; the last ones are completed with silence: `sisnr`.
    """

    def __init__(self, sample_rate: int, *, segment_duration: float = 20.0):
        super().__init__()
        self.length = int(segment_duration * sample_rate)
        self.epsilon = torch.finfo(torch.float32).eps * self.length

    def forward(self, estimate: Tensor, reference: Tensor) -> Tensor:
        ours, theirs = self._segments(estimate), self._segments(reference)
        energy = theirs.square().sum(-1, keepdim=True)
        wanted = (ours * theirs).sum(-1, keepdim=True) / (energy + self.epsilon) * theirs
        signal = wanted.square().sum(-1) + self.epsilon
        noise = (ours - wanted).square().sum(-1) + self.epsilon
        return -10 * (signal / noise).log10().mean()

    def _segments(self, wav: Tensor) -> Tensor:
        stride = self.length // 2
        n_segments = math.ceil(wav.shape[-1] / stride)
        whole = (n_segments - 1) * stride + self.length
        segments = F.pad(wav, (0, whole - wav.shape[-1])).unfold(-1, self.length, stride)
        return segments - segments.mean(-1, keepdim=True)


def reconstruction_loss(name: str, sample_rate: int) -> Callable[[Tensor, Tensor], Tensor]:
    """The loss that a weight's name stands for."""
    match name:
        case "l1":
            return F.l1_loss
        case "l2":
            return F.mse_loss
        case "mel":
            return LogMel(sample_rate)
        case "msspec":
            return MultiScaleMel(sample_rate)
        case "sisnr":
            return NegativeSISNR(sample_rate)
    raise UserError(f"no loss is called {name!r}: task.weights takes l1, l2, mel, msspec, sisnr")
