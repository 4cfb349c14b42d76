"""The key of a piece, from how strongly each pitch class sounds in it.

The peaks of the spectrum are counted by pitch (Gómez, "Tonal Description of Polyphonic Audio for
Music Content Processing", INFORMS JoC 2006) and compared with what the 24 keys use on average
(Albrecht and Shanahan, "The Use of Large Corpora to Train a New Type of Key-Finding Algorithm",
Music Perception 2013).
"""

from collections.abc import Iterable

import numpy as np
import torch
from torch import Tensor

from data_prep.frames import mono_frames
from data_prep.key_names import key_name

_RATE = 11025  # Hz
_WINDOW, _HOP = 8192, 4096  # samples
_LOWEST, _HIGHEST = 60.0, 2200.0  # Hz
_STEPS = 10  # of a semitone, so that a piece may be out of tune
_MAJOR = (.238, .006, .111, .006, .137, .094, .016, .214, .009, .080, .008, .081)  # fmt: skip
_MINOR = (.220, .006, .104, .123, .019, .103, .012, .214, .062, .022, .061, .052)  # fmt: skip
_CLEAR = 0.65  # correlation; noise has 0.3 at most, music 0.74 at least


def estimate_key(blocks: Iterable[Tensor], sample_rate: int) -> str | None:
    """The key of blocks [C, n], such as "C minor"; None without a clear one.

    A piece that changes its key has the one that sounds most.
    """
    pitches = _pitches(blocks, sample_rate)
    if not pitches.any():
        return None
    classes = _in_tune(pitches).reshape(12, _STEPS).sum(1)
    correlation, tonic, minor = max(
        (float(np.corrcoef(np.roll(profile, tonic), classes)[0, 1]), tonic, minor)
        for minor, profile in enumerate((_MAJOR, _MINOR))
        for tonic in range(12)
    )
    return key_name(tonic, bool(minor)) if correlation > _CLEAR else None


def _pitches(blocks: Iterable[Tensor], sample_rate: int) -> np.ndarray:
    """[12 * _STEPS]: how much sounds at each pitch within the octave, from C."""
    total = np.zeros(12 * _STEPS)
    first, last = (int(pitch * _WINDOW / _RATE) for pitch in (_LOWEST, _HIGHEST))
    hann = torch.hann_window(_WINDOW)
    for frames in mono_frames(blocks, sample_rate, _RATE, _WINDOW, _HOP):
        spectrum = torch.fft.rfft(frames * hann).abs().numpy()
        below, here, above = (spectrum[:, first + i : last + i] for i in (-1, 0, 1))
        loudest = here.max(1, keepdims=True)
        peak = (here > below) & (here >= above) & (loudest > 1e-4)
        a, b, c = (np.log(np.maximum(part[peak], 1e-9)) for part in (below, here, above))
        shift = 0.5 * (a - c) / np.minimum(a - 2 * b + c, -1e-9)  # top of the parabola
        bins = np.nonzero(peak)[1] + first + shift.clip(-0.5, 0.5)
        note = 12 * np.log2(bins * _RATE / _WINDOW / 440) + 69
        step = np.floor(note % 12 * _STEPS).astype(int) % len(total)
        total += np.bincount(step, (here / np.maximum(loudest, 1e-9))[peak], len(total))
    return total


def _in_tune(pitches: np.ndarray) -> np.ndarray:
    """The same, moved so that notes are in the middle of their _STEPS steps."""
    turn = np.exp(2j * np.pi * (np.arange(len(pitches)) + 0.5) / _STEPS)
    off = np.angle((pitches * turn).sum()) / (2 * np.pi) * _STEPS
    return np.roll(pitches, _STEPS // 2 - round(off))
