"""What the codec costs, and how well the language model predicts its codes of real music."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.codec_metrics import (
    bitrate,
    perplexity,
    unigram_entropy,
    usage,
)
from musicgen_train.evaluation.metrics.spectral_distance import MEL_SCALES
from musicgen_train.evaluation.scoring.means import mean_over_clips

UNTRAINED_CODEC = "untrained codec of the same shape"
Batches = Sequence[Mapping[str, np.ndarray]]  # the figures of each batch of clips


def fidelity_measurements(
    comparison: Comparison, names: Sequence[str], batches: Batches, sample_rate: int
) -> list[Measurement]:
    """How close the round trips of the named clips come, beside an untrained codec."""

    def measured(
        field: str, title: str, better: Literal["lower", "higher"], **fields: Any
    ) -> Measurement:
        return mean_over_clips(
            f"codec.{field}",
            title,
            dict(zip(names, _joined(batches, field), strict=True)),
            better,
            comparison,
            {},
            bad_end=float(np.nanmean(_joined(batches, f"untrained_{field}"))),
            bad_end_is=UNTRAINED_CODEC,
            **fields,
        )

    return [
        measured(
            "mel_distance",
            "Mel distance of the round trip",
            "lower",
            good_end=0.0,
            good_end_is="perfect copy",
            settings={"scales": [list(s) for s in MEL_SCALES], "sample_rate": sample_rate},
        ),
        measured(
            "si_sdr",
            "SI-SDR of the round trip",
            "higher",
            unit="dB",
            settings={"zero_mean": True},
        ),
    ]


def summed(batches: Batches, field: str) -> Tensor:
    """A figure added up over batches."""
    return torch.from_numpy(np.sum([batch[field] for batch in batches], axis=0))


def _joined(batches: Batches, field: str) -> list[float]:
    return np.concatenate([batch[field] for batch in batches]).astype(float).tolist()


def codebook_measurements(
    codec: Encodec | StereoCodec, counts: Tensor, fresh: Tensor, n: int
) -> list[Measurement]:
    """How much of its codebooks the codec uses on n clips, and its bitrate.

    `counts` [K, card] are those of the codec's codes, `fresh` those of an untrained codec's.
    """
    n_frames = int(counts[0].sum())
    by_codebook = {f"codebook {k}": float(v) for k, v in enumerate(perplexity(counts), 1)}
    nominal = bitrate(codec.n_q, codec.card, codec.frame_rate)
    return [
        Measurement(
            "codec.usage",
            "Codebook entries in use",
            float(usage(counts).mean()),
            "higher",
            n_clips=n,
            unit="share",
            good_end=1.0,
            good_end_is="every entry",
            bad_end=1 / codec.card,
            bad_end_is="one entry",
            others={UNTRAINED_CODEC: float(usage(fresh).mean())},
            settings={"frames": n_frames, "card": codec.card},
        ),
        Measurement(
            "codec.perplexity",
            "Codebook perplexity",
            float(perplexity(counts).mean()),
            "higher",
            n_clips=n,
            good_end=float(codec.card),
            good_end_is="all entries equally often",
            bad_end=1.0,
            bad_end_is="one entry",
            others={**by_codebook, UNTRAINED_CODEC: float(perplexity(fresh).mean())},
            settings={"frames": n_frames, "estimator": "Miller-Madow"},
        ),
        Measurement("codec.bitrate", "Bitrate", nominal, "neither", n_clips=n, unit="bit/s"),
    ]


def lm_measurement(batches: Batches, n_clips: int, card: int, with_melody: bool) -> Measurement:
    """Held-out cross entropy by codebook against the unigram entropy of the same codes."""
    n_codes, counts = summed(batches, "n_codes"), summed(batches, "counts")
    cross_entropy, untrained = (
        summed(batches, field) / n_codes for field in ("nats", "untrained_nats")
    )
    others = {f"codebook {k}": float(value) for k, value in enumerate(cross_entropy, 1)}
    return Measurement(
        "lm.cross_entropy",
        "Cross entropy of held-out codes",
        float(cross_entropy.mean()),
        "lower",
        n_clips=n_clips,
        unit="nats",
        bad_end=float(unigram_entropy(counts).mean()),
        bad_end_is="unigram entropy of the codes",
        others={**others, "untrained": float(untrained.mean()), "ln(card)": math.log(card)},
        settings={
            "given": "text and melody" if with_melody else "text",
            "frames": int(counts[0].sum()),
            "unigram_estimator": "Miller-Madow on the same codes",
        },
    )
