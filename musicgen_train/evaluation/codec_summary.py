"""A codec's figures over all clips: measurements, the rate-distortion curve, the codebooks."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, Literal, NamedTuple

from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.evaluation.clips import SILENCE_RMS
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.codec_metrics import (
    SI_SDR_LIMIT,
    bitrate,
    entropy_bitrate,
    perplexity,
    unigram_entropy,
    usage,
)
from musicgen_train.evaluation.metrics.fidelity import Fidelity, mean_fidelity
from musicgen_train.evaluation.metrics.intervals import MEAN_INTERVAL, bootstrap_mean
from musicgen_train.evaluation.metrics.spectral_distance import MEL_SCALES, STFT_SCALES
from musicgen_train.evaluation.scoring.codec import UNTRAINED_CODEC, codebook_measurements


@dataclass
class ClipRow:
    """What is kept of one clip after its round trip."""

    name: str
    track: str
    duration: float  # seconds
    by_n_q: dict[int, Fidelity]
    untrained: Fidelity
    usage: list[float]  # per codebook
    perplexity: list[float]
    entropy_bitrate: float  # bit/s
    undefined: str  # why some figures are undefined, or ""

    @property
    def fidelity(self) -> Fidelity:
        """With all codebooks."""
        return self.by_n_q[max(self.by_n_q)]

    def to_json(self) -> dict[str, Any]:
        """Plain values for metrics.json."""
        plain = asdict(self)
        del plain["by_n_q"], plain["untrained"]
        return {**plain, "duration": round(self.duration, 3), **self.fidelity.to_json()}


def worst_first(rows: Sequence[ClipRow]) -> list[ClipRow]:
    """In order of the mel distance, the largest first; broken output comes before all."""
    nats = [row.fidelity.mel_distance for row in rows]
    worst = [value if math.isfinite(value) else math.inf for value in nats]
    return [row for _, row in sorted(zip(worst, rows, strict=True), key=lambda pair: -pair[0])]


class Distance(NamedTuple):
    """How one field of `Fidelity` is shown; the bad end None is what an untrained codec gives."""

    field: str
    title: str
    unit: str
    better: Literal["lower", "higher", "neither"]
    good_end: float | None
    bad_end: float | None
    settings: dict[str, object]


DISTANCES = (
    Distance(
        "mel_distance", "Mel distance of the round trip", "", "lower", 0.0, None,
        {"is": "mean |Δ ln mel|, magnitudes, HTK scale", "scales": [list(s) for s in MEL_SCALES]},
    ),
    Distance(
        "stft_distance", "STFT distance of the round trip", "", "lower", 0.0, None,
        {"is": "spectral convergence + mean |Δ ln magnitude| (Parallel WaveGAN)",
         "scales": [list(s) for s in STFT_SCALES]},
    ),
    # An untrained codec is tens of dB below: next to it any codec would look good.
    Distance(
        "si_sdr", "SI-SDR of the round trip", "dB", "higher", None, 0.0,
        {"zero_mean": True, "per_channel": True, "limit": SI_SDR_LIMIT, "silent_rms": SILENCE_RMS},
    ),
    Distance(
        "loudness_difference", "Loudness against the original", "LU", "neither", 0.0, None,
        {"is": "integrated loudness (ITU-R BS.1770) of the copy minus that of the original"},
    ),
)  # fmt: skip


def codec_measurements(
    codec: Encodec, rows: Sequence[ClipRow], counts: Tensor, fresh: Tensor
) -> list[Measurement]:
    """Every figure as the mean over clips; `counts` [K, card] and `fresh` are sums over them."""
    found = [_distance_measurement(distance, rows) for distance in DISTANCES]
    found += codebook_measurements(codec, counts, fresh, len(rows))
    nominal = bitrate(codec.n_q, codec.card, codec.frame_rate)
    rate = Measurement(
        "codec.entropy_bitrate",
        "Entropy bitrate",
        entropy_bitrate(counts, codec.frame_rate),
        "neither",
        n_clips=len(rows),
        unit="bit/s",
        bad_end=nominal,
        bad_end_is="all entries equally often",
        settings={
            "is": "sum over codebooks of the unigram entropy, Miller-Madow, times the frame rate",
            "frames": int(counts[0].sum()),
        },
    )
    return [*found, rate]


def _distance_measurement(distance: Distance, rows: Sequence[ClipRow]) -> Measurement:
    values = [getattr(row.fidelity, distance.field) for row in rows]
    means, worst = (
        mean_fidelity(side) for side in ([r.fidelity for r in rows], [r.untrained for r in rows])
    )
    untrained = getattr(worst, distance.field)
    interval = bootstrap_mean(values, [row.track for row in rows])
    others = _spread(values)
    if distance.field == "stft_distance":
        parts = ("spectral_convergence", "log_magnitude")
        others |= {part.replace("_", " "): getattr(means, part) for part in parts}
    if distance.field == "loudness_difference":
        others["mean of absolute values"] = _mean_absolute(values)
    if distance.bad_end is not None:
        others[UNTRAINED_CODEC] = untrained
    return Measurement(
        f"codec.{distance.field}",
        distance.title,
        getattr(means, distance.field),
        distance.better,
        n_clips=sum(map(math.isfinite, values)),
        unit=distance.unit,
        good_end=distance.good_end,
        good_end_is="" if distance.good_end is None else "perfect copy",
        bad_end=untrained if distance.bad_end is None else distance.bad_end,
        bad_end_is=UNTRAINED_CODEC if distance.bad_end is None else "as much distortion as signal",
        interval=interval,
        interval_is=MEAN_INTERVAL if interval else "",
        others=others,
        settings=distance.settings,
        per_clip={row.name: value for row, value in zip(rows, values, strict=True)},
    )


def _spread(values: Sequence[float]) -> dict[str, float]:
    """Median and standard deviation of the defined values."""
    kept = [value for value in values if math.isfinite(value)]
    if len(kept) < 2:
        return {}
    return {"median": statistics.median(kept), "std": statistics.stdev(kept)}


def _mean_absolute(values: Sequence[float]) -> float:
    defined = [abs(value) for value in values if math.isfinite(value)]
    return sum(defined) / len(defined) if defined else math.nan


def rate_distortion(
    codec: Encodec, rows: Sequence[ClipRow], counts: Tensor
) -> list[dict[str, float | int | None]]:
    """Bitrates and mean distances with the first 1, 2, … codebooks."""
    return [
        {
            "n_q": n_q,
            "bitrate": bitrate(n_q, codec.card, codec.frame_rate),
            "entropy_bitrate": entropy_bitrate(counts[:n_q], codec.frame_rate),
            **mean_fidelity([row.by_n_q[n_q] for row in rows]).to_json(),
        }
        for n_q in rows[0].by_n_q
    ]


def codebook_table(counts: Tensor) -> list[dict[str, float | int]]:
    """Use of each codebook over all clips: counts [K, card]."""
    bits = unigram_entropy(counts) / math.log(2)
    columns = zip(usage(counts).tolist(), perplexity(counts).tolist(), bits.tolist(), strict=True)
    return [
        {"codebook": k, "usage": used, "perplexity": effective, "entropy": entropy}
        for k, (used, effective, entropy) in enumerate(columns, 1)
    ]
