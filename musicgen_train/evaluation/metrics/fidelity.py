"""How close a codec's output comes to what went in: every distance of one clip."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor

from musicgen_train.evaluation.clips import SILENCE_RMS
from musicgen_train.evaluation.metrics.codec_metrics import si_sdr
from musicgen_train.evaluation.metrics.loudness import (
    GATING_BLOCK,
    LOWEST_RATE,
    integrated_loudness,
)
from musicgen_train.evaluation.metrics.spectral_distance import mel_distance, stft_distance


class Fidelity(NamedTuple):
    """Distances of one clip from its original; NaN where one is undefined."""

    mel_distance: float  # nats
    stft_distance: float  # spectral_convergence + log_magnitude
    spectral_convergence: float  # ratio
    log_magnitude: float  # nats
    si_sdr: float  # dB, mean over the channels that are not silent
    loudness_difference: float  # LU; positive where the copy is louder

    def to_json(self) -> dict[str, float | None]:
        """JSON has no NaN: null says undefined."""
        return {k: v if math.isfinite(v) else None for k, v in self._asdict().items()}


FIELD_TITLES = {
    "mel_distance": "mel distance",
    "stft_distance": "STFT distance",
    "si_sdr": "SI-SDR",
    "loudness_difference": "loudness",
}


def fidelity(estimate: Tensor, target: Tensor, sample_rate: int) -> Fidelity:
    """Compare two wavs [C, N].

    Where the target is silent, ratios to its energy (SI-SDR, spectral convergence and with it the
    STFT distance) are undefined; what remains still tells of noise that the codec adds.
    """
    assert estimate.shape == target.shape, (estimate.shape, target.shape)
    # An offset is no sound: a constant has no more of a signal than zeros.
    sounding = target.double().std(-1, correction=0) >= SILENCE_RMS
    convergence, log_magnitude = (
        float(part) for part in stft_distance(estimate[None], target[None])
    )
    if not sounding.any():
        convergence = math.nan
    return Fidelity(
        float(mel_distance(estimate[None], target[None], sample_rate)),
        convergence + log_magnitude,
        convergence,
        log_magnitude,
        float(si_sdr(estimate, target)[sounding].mean()),
        integrated_loudness(estimate, sample_rate) - integrated_loudness(target, sample_rate),
    )


def undefined_because(found: Fidelity, target: Tensor, sample_rate: int) -> str:
    """Which figures for this target [C, N] are undefined, and why; "" if all are there."""
    missing = [FIELD_TITLES.get(field, "") for field, v in found.to_json().items() if v is None]
    if not missing:
        return ""
    if not math.isfinite(found.mel_distance):
        reason = "the codec's output holds NaN or infinite samples"
    elif not math.isfinite(found.si_sdr):
        reason = "silent, or one constant"
    elif target.shape[-1] < GATING_BLOCK * sample_rate:
        reason = f"shorter than {GATING_BLOCK:g} s"
    elif sample_rate < LOWEST_RATE:
        reason = f"a rate below {LOWEST_RATE} Hz"
    else:
        reason = "below -70 LUFS"
    return f"{reason}: no {', no '.join(filter(None, missing))}"


def mean_fidelity(rows: Sequence[Fidelity]) -> Fidelity:
    """Mean of each distance over the clips where it is defined."""
    return Fidelity(*(_defined_mean(values) for values in zip(*rows, strict=True)))


def _defined_mean(values: Sequence[float]) -> float:
    defined = [value for value in values if math.isfinite(value)]
    return sum(defined) / len(defined) if defined else math.nan
