"""Measurements of a model's clips, each beside the two ends of its scale."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.evaluation.held_out import Segment, other_track_pairs
from musicgen_train.evaluation.judged import STYLE_HEADS, Judged, judged_fad, judged_kl
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.chroma_agreement import (
    ChromaAgreement,
    chroma_agreement,
    mean_agreement,
)
from musicgen_train.evaluation.metrics.codec_metrics import (
    bitrate,
    code_counts,
    perplexity,
    si_sdr,
    unigram_entropy,
    usage,
)
from musicgen_train.evaluation.metrics.spectral_distance import MEL_SCALES, mel_distance
from musicgen_train.evaluation.metrics.text_consistency import text_consistency

REAL_TO_REAL = "real music to other real music"
UNTRAINED = "untrained model of the same shape"
UNTRAINED_CODEC = "untrained codec of the same shape"
ROUND_TRIP = "real music through the codec"
SHUFFLED = "clips of other tracks"


@dataclass
class JudgedSets:
    """What the judge made of every set of clips; the first four belong to the same prompts."""

    reference: Judged
    reconstruction: Judged
    text: Judged
    untrained: Judged
    others: Judged
    melody: Judged | None = None


class RoundTrip(NamedTuple):
    """What a codec made of a set of clips."""

    codes: Tensor  # [n, K, T]
    wavs: Tensor  # [n, C, N]


def fidelity_measurements(
    wavs: Tensor, trained: RoundTrip, untrained: RoundTrip, sample_rate: int
) -> list[Measurement]:
    """How close the round trip of wavs [n, C, N] comes, beside an untrained codec."""
    return [
        Measurement(
            "codec.mel_distance",
            "Mel distance of the round trip",
            float(mel_distance(trained.wavs, wavs, sample_rate).mean()),
            "lower",
            n_clips=len(wavs),
            good_end=0.0,
            good_end_is="perfect copy",
            bad_end=float(mel_distance(untrained.wavs, wavs, sample_rate).mean()),
            bad_end_is=UNTRAINED_CODEC,
            settings={"scales": [list(s) for s in MEL_SCALES], "sample_rate": sample_rate},
        ),
        Measurement(
            "codec.si_sdr",
            "SI-SDR of the round trip",
            float(si_sdr(trained.wavs, wavs).mean()),
            "higher",
            n_clips=len(wavs),
            unit="dB",
            bad_end=float(si_sdr(untrained.wavs, wavs).mean()),
            bad_end_is=UNTRAINED_CODEC,
            settings={"zero_mean": True},
        ),
    ]


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


def lm_measurement(
    cross_entropy: Tensor, untrained: Tensor, codes: Tensor, card: int, with_melody: bool
) -> Measurement:
    """Held-out cross entropy per codebook [K] against the unigram entropy of the same codes."""
    others = {f"codebook {k}": float(value) for k, value in enumerate(cross_entropy, 1)}
    return Measurement(
        "lm.cross_entropy",
        "Cross entropy of held-out codes",
        float(cross_entropy.mean()),
        "lower",
        n_clips=len(codes),
        unit="nats",
        bad_end=float(unigram_entropy(code_counts(codes, card)).mean()),
        bad_end_is="unigram entropy of the codes",
        others={**others, "untrained": float(untrained.mean()), "ln(card)": math.log(card)},
        settings={
            "given": "text and melody" if with_melody else "text",
            "frames": int(codes.shape[0] * codes.shape[-1]),
            "unigram_estimator": "Miller-Madow on the same codes",
        },
    )


def fad_measurements(sets: JudgedSets, settings: dict[str, object]) -> list[Measurement]:
    """FAD[judge] of each set against the same other real music."""
    ends = {
        "good_end": judged_fad(sets.others, sets.reference),
        "good_end_is": REAL_TO_REAL,
        "bad_end": judged_fad(sets.others, sets.untrained),
        "bad_end_is": UNTRAINED,
    }
    rows = [
        ("fad.judge.text", "FAD[judge], generated from text", sets.text),
        ("fad.judge.melody", "FAD[judge], generated from text and melody", sets.melody),
        ("fad.judge.round_trip", "FAD[judge], real music through the codec", sets.reconstruction),
    ]
    return [
        Measurement(
            name,
            title,
            judged_fad(sets.others, judged),
            "lower",
            n_clips=judged.n_clips,
            n_vectors=judged.n_vectors,
            settings={**settings, "reference_vectors": sets.others.n_vectors},
            **ends,  # type: ignore[arg-type]
        )
        for name, title, judged in rows
        if judged is not None
    ]


def kl_measurements(
    sets: JudgedSets, segments: Sequence[Segment], settings: dict[str, object]
) -> list[Measurement]:
    """KL[judge] between the real clip and the one generated for its text."""
    good_end = judged_kl(sets.reference, sets.reconstruction)
    pairs = other_track_pairs(segments)
    rows = [
        ("kl.judge.text", "KL[judge], generated from text", sets.text),
        ("kl.judge.melody", "KL[judge], generated from text and melody", sets.melody),
    ]
    return [
        Measurement(
            name,
            title,
            judged_kl(sets.reference, judged),
            "lower",
            n_clips=judged.n_clips,
            unit="nats",
            good_end=good_end,
            good_end_is=ROUND_TRIP,
            bad_end=judged_kl(sets.reference, judged, pairs),
            bad_end_is=SHUFFLED,
            others={
                "untrained": judged_kl(sets.reference, sets.untrained),
                "reversed": judged_kl(judged, sets.reference),
            },
            settings={**settings, "direction": "KL(ref||gen)", "heads": list(STYLE_HEADS)},
        )
        for name, title, judged in rows
        if judged is not None
    ]


def text_measurements(
    sets: JudgedSets, segments: Sequence[Segment], settings: dict[str, object]
) -> list[Measurement]:
    """Share of generated clips in which the judge hears what the text asked for."""
    return [
        _text_measurement(sets, segments, head, source, {**settings, "generated_from": source})
        for source, judged in (("text", sets.text), ("melody", sets.melody))
        if judged is not None
        for head in ("instrument", "genre")
    ]


def _text_measurement(
    sets: JudgedSets, segments: Sequence[Segment], head: str, source: str, settings: dict
) -> Measurement:
    wanted = [segment.label(head) for segment in segments]
    labels = sets.reference.labels[head]

    def heard_in(judged: Judged, pairs: Sequence[tuple[int, int]]) -> tuple[float, float, int]:
        rows, texts = [i for i, _ in pairs], [wanted[j] for _, j in pairs]
        found = text_consistency(judged.log_probabilities[head][rows], texts, labels)
        return found.accuracy, found.probability, found.n_unknown

    own = [(i, i) for i in range(len(segments))]
    generated = sets.melody if source == "melody" and sets.melody else sets.text
    value, probability, n_unknown = heard_in(generated, own)
    suffix, remark = (".with_melody", " (text and melody)") if source == "melody" else ("", "")
    return Measurement(
        f"text.{head}{suffix}",
        f"{head.capitalize()} heard as asked{remark}",
        value,
        "higher",
        n_clips=len(segments) - n_unknown,
        unit="share",
        good_end=heard_in(sets.reference, own)[0],
        good_end_is="real music of these texts",
        bad_end=heard_in(generated, other_track_pairs(segments))[0],
        bad_end_is="texts of other tracks",
        others={
            "mean probability": probability,
            "chance": 1 / len(labels),
            "through the codec": heard_in(sets.reconstruction, own)[0],
            "untrained": heard_in(sets.untrained, own)[0],
        },
        settings={**settings, "n_unknown_labels": n_unknown},
    )


def chroma_measurements(
    segments: Sequence[Segment], heard: Mapping[str, Sequence[Tensor]], settings: dict[str, object]
) -> list[Measurement]:
    """Agreement of the chroma [F, 12] of generated clips with the melody they were to follow.

    `heard` holds the chroma of the clips made from text and "melody", from "text" only, and of
    the "reference", each in the order of the segments.
    """
    own = [(i, i) for i in range(len(segments))]
    value, good = (_mean_chroma_agreement(segments, heard[k], own) for k in ("melody", "reference"))
    bad = _mean_chroma_agreement(segments, heard["melody"], other_track_pairs(segments))
    without = _mean_chroma_agreement(segments, heard["text"], own)
    titles = {"argmax": "Same dominant pitch class", "cosine": "Cosine of dense chroma"}
    return [
        Measurement(
            f"chroma.{kind}",
            title,
            getattr(value, kind),
            "higher",
            n_clips=len(segments),
            unit="share" if kind == "argmax" else "",
            good_end=getattr(good, kind),
            good_end_is="the real clip, whole mix",
            bad_end=getattr(bad, kind),
            bad_end_is="melodies of other tracks",
            others={"generated from text only": getattr(without, kind)},
            settings={**settings, "voiced_share": value.voiced, "chance": 1 / 12},
        )
        for kind, title in titles.items()
    ]


def _mean_chroma_agreement(
    segments: Sequence[Segment], heard: Sequence[Tensor], pairs: Sequence[tuple[int, int]]
) -> ChromaAgreement:
    """Mean agreement of melody i with clip j over pairs (i, j)."""
    return mean_agreement(
        [
            chroma_agreement(asked, heard[j])
            for i, j in pairs
            if (asked := segments[i].chroma) is not None
        ]
    )
