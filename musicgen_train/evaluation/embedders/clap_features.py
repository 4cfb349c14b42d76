"""What CLAP's HTSAT hears of a clip: windows of 10 s as log-mel spectrograms in dB.

Facts from laion_clap 1.1.7 (torchlibrosa) and transformers' ClapFeatureExtractor with rand_trunc
and repeatpad, which agree: periodic Hann, centred frames, power, Slaney's mel scale and areas.
"""

from __future__ import annotations

import functools
import math

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.evaluation.embedders.windows import covering_windows

SAMPLE_RATE = 48_000  # samples/s
WINDOW_DURATION = 10.0  # seconds; what HTSAT was trained on
WINDOW = int(WINDOW_DURATION * SAMPLE_RATE)
N_FFT, HOP, N_MELS = 1024, 480, 64  # samples, samples, bands
LOWEST, HIGHEST = 50.0, 14_000.0  # Hz, edges of the mel bands
FLOOR = 1e-10  # power: silence is -100 dB


def windows(mono: Tensor, hop: int) -> Tensor:
    """Cut a clip [N] into windows [W, WINDOW], `hop` samples apart, so that all of it is heard.

    The last window ends with the clip, whatever the hop. A clip shorter than a window becomes one
    by `repeat_pad`.
    """
    return covering_windows(repeat_pad(mono) if len(mono) < WINDOW else mono, WINDOW, hop)


def repeat_pad(mono: Tensor) -> Tensor:
    """As many whole copies of a clip [N] as fit into a window, then silence: [WINDOW]."""
    if len(mono) == 0:
        return mono.new_zeros(WINDOW)
    copies = mono.repeat(WINDOW // len(mono))
    return F.pad(copies, (0, WINDOW - len(copies)))


def log_mel(wav: Tensor) -> Tensor:
    """Log-mel power in dB of windows [W, N], on their device: [W, 1, 1 + N // HOP, N_MELS].

    In float64: rounding in float32 is louder than -100 dB beside a loud tone.
    """
    hann = torch.hann_window(N_FFT, dtype=torch.float64, device=wav.device)
    spectrum = torch.stft(
        wav.double(), N_FFT, HOP, window=hann, pad_mode="reflect", return_complex=True
    )
    power = spectrum.real.square() + spectrum.imag.square()
    mel = slaney_filterbank().to(wav.device).T @ power
    return (10 * mel.clamp(min=FLOOR).log10()).mT[:, None].float()


@functools.lru_cache(maxsize=1)
def slaney_filterbank() -> Tensor:
    """Triangles of unit area on Slaney's mel scale: [N_FFT // 2 + 1, N_MELS], float64.

    The scale is linear up to 1 kHz and logarithmic above (Slaney, Auditory Toolbox, 1998).
    """
    edges = _mel_to_hertz(
        torch.linspace(
            _hertz_to_mel(LOWEST), _hertz_to_mel(HIGHEST), N_MELS + 2, dtype=torch.float64
        )
    )
    bins = torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64)[:, None]
    rising = (bins - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0) * 2 / (edges[2:] - edges[:-2])


_KNEE = 1000.0  # Hz, where the scale turns logarithmic
_LINEAR = 200 / 3  # Hz per mel below
_STEP = math.log(6.4) / 27  # natural log of the ratio per mel above


def _hertz_to_mel(hertz: float) -> float:
    if hertz < _KNEE:
        return hertz / _LINEAR
    return _KNEE / _LINEAR + math.log(hertz / _KNEE) / _STEP


def _mel_to_hertz(mel: Tensor) -> Tensor:
    above = _KNEE * torch.exp((mel - _KNEE / _LINEAR) * _STEP)
    return torch.where(mel < _KNEE / _LINEAR, mel * _LINEAR, above)
