"""Plain facts of a clip, kept beside what embedders heard: length, rate, level."""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.evaluation.metrics.loudness import integrated_loudness
from musicgen_train.evaluation.metrics.silence import block_levels, longest_silence

FULL_SCALE = 1 - 2**-14  # of which 16 bits cut what is louder; above it are two of their steps


class ClipFacts(NamedTuple):
    """What can be said of a clip without a model."""

    duration: float  # seconds
    sample_rate: float  # samples/s
    channels: float
    rms: float  # of full scale; NaN if a sample is not finite
    peak: float
    loudness: float  # LUFS; NaN where undefined
    silence: float = 0.0  # seconds of the longest stretch below -60 dBFS
    clipped: float = 0.0  # share of the samples that are at full scale

    @classmethod
    def of(cls, wav: Tensor, sample_rate: int) -> ClipFacts:
        """The facts of a clip [C, N]."""
        channels, n_samples = wav.shape
        rms = float(wav.double().square().mean().sqrt()) if n_samples else 0.0
        peak = float(wav.abs().max()) if n_samples else 0.0
        sound = bool(torch.isfinite(wav).all())
        loudness = integrated_loudness(wav, sample_rate) if sound else math.nan
        silence = longest_silence(block_levels(wav, sample_rate))
        clipped = float((wav.abs() >= FULL_SCALE).double().mean()) if n_samples else 0.0
        return cls(
            n_samples / sample_rate, sample_rate, channels, rms, peak, loudness, silence, clipped
        )


class FactsEmbedder:
    """Takes note of facts as embedders do of sounds: {"facts": [1, 8]}."""

    name = "facts"
    sample_rate = 0  # of the clip itself

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """The facts of a clip [C, N]."""
        return torch.tensor(ClipFacts.of(wav, sample_rate), dtype=torch.float64)

    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Nothing is left to be done."""
        return {"facts": prepared[None]}

    def identity(self) -> str:
        """Changes when other facts are noted."""
        return "3"

    def protocol(self) -> dict[str, object]:
        """How loudness is meant."""
        return {"embedder": "facts", "loudness": "ITU-R BS.1770, integrated"}
