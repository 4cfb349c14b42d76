"""What PaSST sees of a sound: a log-mel spectrogram with Kaldi's mel bands."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

SAMPLE_RATE = 32000
BANDS = 128
N_FFT = 1024
WINDOW = 800
HOP = 320
TOP = 15000.0  # Hz: half the rate, less the kHz by which training shifted it
PREEMPHASIS = 0.97
FLOOR = 1e-5  # added to power


class PasstFeatures(nn.Module):
    """The spectrogram of hear21passt (AugmentMelSTFT) without what it does in training."""

    window: Tensor
    bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("window", torch.hann_window(WINDOW, periodic=False), persistent=False)
        self.register_buffer("bank", kaldi_mel_bank(), persistent=False)

    def forward(self, wav: Tensor) -> Tensor:
        """Samples [B, N] at 32 kHz, N > 513 -> [B, 128, frames_in(N)]; silence is -1.403."""
        brighter = wav[:, 1:] - PREEMPHASIS * wav[:, :-1]
        spectrum = torch.stft(
            brighter, N_FFT, HOP, WINDOW, self.window, center=True, return_complex=True
        )
        power = spectrum.real.square() + spectrum.imag.square()
        return ((self.bank @ power + FLOOR).log() + 4.5) / 5


def frames_in(n_samples: int) -> int:
    """Frames of so many samples, of which preemphasis takes one."""
    return (n_samples - 1) // HOP + 1


def kaldi_mel_bank() -> Tensor:
    """Triangles that are straight in mel, 1127 ln(1 + f/700), from 0 to 15 kHz: [128, 513].

    In float32 step by step as torchaudio.compliance.kaldi.get_mel_banks, so that it is the same to
    the last bit. Kaldi has no band at half the rate.
    """
    step = 1127.0 * math.log(1 + TOP / 700.0) / (BANDS + 1)
    edges = (torch.arange(BANDS + 2.0) * step)[:, None]
    left, centre, right = edges[:-2], edges[1:-1], edges[2:]
    frequency = SAMPLE_RATE / N_FFT * torch.arange(N_FFT // 2)
    mel = 1127.0 * (1.0 + frequency / 700.0).log()
    rising, falling = (mel - left) / (centre - left), (right - mel) / (right - centre)
    return nn.functional.pad(torch.minimum(rising, falling).clamp(min=0), (0, 1))
