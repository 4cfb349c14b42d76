"""A melody as the model receives it: chroma turned into plain tones."""

from __future__ import annotations

import math

import torch
from torch import Tensor


def sonify_chroma(chroma: Tensor, duration: float, sample_rate: int, level: float = 0.2) -> Tensor:
    """Play the dominant pitch class of each frame [F, 12] around middle C: -> wav [1, N].

    Frames without energy are silent. Each pitch class has a running phase of its own and its
    amplitude fades between frames, so notes change without clicks.
    """
    n_samples = round(duration * sample_rate)
    dominant = torch.nn.functional.one_hot(chroma.argmax(-1), 12).float()
    dominant = dominant * (chroma.amax(-1, keepdim=True) > 1e-4)
    gains = torch.nn.functional.interpolate(dominant.T[None], n_samples, mode="linear")[0]
    time = torch.arange(n_samples, dtype=torch.float64) / sample_rate
    notes = torch.arange(60, 72, dtype=torch.float64)  # MIDI notes from middle C upwards
    phase = 2 * math.pi * (440.0 * 2 ** ((notes - 69) / 12))[:, None] * time
    tones = phase.sin() + 0.3 * (2 * phase).sin()
    return level * (tones.float() * gains).sum(0, keepdim=True)
