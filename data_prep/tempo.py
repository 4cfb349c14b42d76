"""The tempo of a piece, from how regularly its notes begin.

Where the spectrum grows is an onset; the autocorrelation of that curve, summed over multiples of
the beat (Percival and Tzanetakis, "Streamlined Tempo Estimation", TASLP 2014), weighted with a
bias to 120 bpm (Ellis, "Beat Tracking by Dynamic Programming", JNMR 2007), is highest at the beat.
"""

import itertools
from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from data_prep.frames import mono_frames

_RATE = 11025  # Hz
_WINDOW, _HOP = 1024, 128  # samples
_ONSETS_PER_SECOND = _RATE / _HOP
_STRETCH = round(12 * _ONSETS_PER_SECOND)  # over which the tempo is taken to be steady
_BPM = np.exp(np.arange(np.log(40), np.log(240), 0.001))
_BEATS = (1, 2, 3, 4)
_USUAL, _OCTAVES = 120.0, 0.9  # mean and standard deviation of the bias
_LOUD = 0.01  # standard deviation of onsets; steady tones have 0.008, music 0.014 at least
_CLEAR = 0.18  # of 1; noise has 0.14 at most, music 0.2 at least


def estimate_tempo(blocks: Iterable[Tensor], sample_rate: int) -> float | None:
    """Beats per minute, 40 to 240, of blocks [C, n]; None without a clear beat.

    Twice or half of it may be felt as well. A tempo that changes is averaged.
    """
    onsets = _onsets(blocks, sample_rate)
    if len(onsets) < 4 * _ONSETS_PER_SECOND or onsets.std() < _LOUD:
        return None
    similarity = _autocorrelation(onsets)
    lags = np.outer(_BEATS, 60 * _ONSETS_PER_SECOND / _BPM)
    regular = np.interp(lags, np.arange(len(similarity)), similarity).mean(0)
    bias = np.exp(-0.5 * (np.log2(_BPM / _USUAL) / _OCTAVES) ** 2)
    best = int(np.argmax(regular * bias))
    return float(_BPM[best]) if regular[best] > _CLEAR else None


def _onsets(blocks: Iterable[Tensor], sample_rate: int) -> np.ndarray:
    """How much louder bands became, in parts of the mean level, 86 times a second."""
    hann = torch.hann_window(_WINDOW)
    edges = np.unique(np.geomspace(3, _WINDOW // 2, 33).round().astype(int))
    curve, before, total = [np.zeros(0, np.float32)], None, 0.0
    for frames in mono_frames(blocks, sample_rate, _RATE, _WINDOW, _HOP):
        spectrum = torch.fft.rfft(frames * hann).abs()
        bands = [spectrum[:, low:high].sum(1) for low, high in itertools.pairwise(edges)]
        level = torch.stack(bands, 1).pow(1 / 3)  # the same for any gain, unlike a logarithm
        total += level.sum().item()
        if before is not None:
            level = torch.cat([before, level])
        before = level[-1:]
        curve.append(level.diff(dim=0).clamp(min=0).sum(1).numpy())
    onsets = np.concatenate(curve)
    return onsets * (len(onsets) / max(total, 1e-9))


def _autocorrelation(onsets: np.ndarray) -> np.ndarray:
    """[_STRETCH], 1 at 0: mean over stretches that overlap by half."""
    smooth = np.ones(round(_ONSETS_PER_SECOND / 2) | 1)
    smooth /= len(smooth)
    total, n_stretches = np.zeros(_STRETCH), 0
    for start in range(0, max(1, len(onsets) - _STRETCH + 1), _STRETCH // 2):
        part = onsets[start : start + _STRETCH]
        part = part - np.convolve(part, smooth, "same")
        power = np.abs(np.fft.rfft(part, 2 * _STRETCH)) ** 2
        found = np.fft.irfft(power)[:_STRETCH]
        if found[0] > 1e-9:
            overlap = np.arange(len(part), len(part) - _STRETCH, -1).clip(min=len(part) // 4)
            total += found / found[0] * len(part) / overlap
            n_stretches += 1
    return total / max(1, n_stretches)
