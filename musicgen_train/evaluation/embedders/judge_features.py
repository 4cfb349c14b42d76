"""What the judge sees of a clip: one loudness, mels for timbre and beat, semitones for key."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from musicgen_train.evaluation.embedders.levels import level_rms
from musicgen_train.evaluation.embedders.mono import to_mono
from musicgen_train.evaluation.embedders.windows import repeat_to_fill
from musicgen_train.evaluation.metrics.spectral_distance import mel_filterbank

SAMPLE_RATE = 16_000  # samples/s
WINDOW_DURATION = 4.0  # seconds per embedding
HOP_DURATION = 1.0  # seconds between embeddings

LOWEST_NOTE, N_OCTAVES = 36, 6  # semitones C2 (65 Hz) up to B7 (3951 Hz)
PITCH_FFT, PITCH_HOP = 8192, 2048  # half a second: 2 Hz bins tell semitones apart from C2 on
MEL_FFT, MEL_HOP, N_MELS = 1024, 256, 64


def normalise(wav: Tensor, sample_rate: int) -> Tensor:
    """Mean of channels at the judge's rate and one RMS for every clip: [C, N] -> [N'].

    Raw gain moves log-mel features more than most models differ, so every side of every
    comparison (reference, reconstruction, generated) passes through this one function.
    Samples that are not finite are taken as 0; `ClipFaults` counts the clips that have them.
    """
    return level_rms(to_mono(wav, sample_rate, SAMPLE_RATE))


def windows(mono: Tensor) -> Tensor:
    """Cut a clip [N] into overlapping windows [W, window]; the incomplete tail is dropped.

    A clip shorter than one window is repeated until it fills one, so every clip has a vector.
    """
    size, hop = int(WINDOW_DURATION * SAMPLE_RATE), int(HOP_DURATION * SAMPLE_RATE)
    return repeat_to_fill(mono, size).unfold(0, size, hop)


def semitone_filterbank() -> Tensor:
    """Triangles one semitone wide on each side: [PITCH_FFT // 2 + 1, 12 * N_OCTAVES]."""
    hertz = torch.linspace(0, SAMPLE_RATE / 2, PITCH_FFT // 2 + 1, dtype=torch.float64)
    note = 69 + 12 * torch.log2(hertz.clamp(min=1.0) / 440.0)
    centres = LOWEST_NOTE + torch.arange(12 * N_OCTAVES, dtype=torch.float64)
    bank = (1 - (note[:, None] - centres).abs()).clamp(min=0)
    # Higher semitones span more bins; the unit sum keeps white noise flat.
    return (bank / bank.sum(0)).float()


class JudgeFeatures(nn.Module):
    """Windows [B, N] of normalised audio -> log-mel [B, 64, T] and log-semitones [B, 72, F]."""

    mel_bank: Tensor
    semitone_bank: Tensor

    def __init__(self) -> None:
        super().__init__()
        mel_bank = mel_filterbank(SAMPLE_RATE, MEL_FFT, N_MELS)
        self.register_buffer("mel_bank", mel_bank, persistent=False)
        self.register_buffer("semitone_bank", semitone_filterbank(), persistent=False)

    def forward(self, wav: Tensor) -> tuple[Tensor, Tensor]:
        mel = self._spectrum(wav, MEL_FFT, MEL_HOP, self.mel_bank)
        semitones = self._spectrum(wav, PITCH_FFT, PITCH_HOP, self.semitone_bank)
        return (mel + 1e-2).log(), (semitones + 1e-2).log()

    @staticmethod
    def _spectrum(wav: Tensor, n_fft: int, hop: int, bank: Tensor) -> Tensor:
        window = torch.hann_window(n_fft, device=wav.device)
        magnitude = torch.stft(wav, n_fft, hop, window=window, return_complex=True).abs()
        return bank.T @ magnitude
