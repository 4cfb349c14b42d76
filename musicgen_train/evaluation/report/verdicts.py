"""Measurements in plain words: a grade, the summary, and what is weak."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from musicgen_train.evaluation.measurement import Measurement

GOOD_SHARE, FAIR_SHARE = 0.6, 0.25  # of the way from the bad end to the good end
NAMED_FILES = 5
GOOD_MARGIN = 0.1  # relative gain over the bad end where no good end is known


class Sentence(NamedTuple):
    """One line of the summary and the colour of its dot."""

    text: str
    grade: str


SUMMARIES = {
    "codec.mel_distance": "Codec: mel distance to the original {value}, "
    "where an untrained codec of the same shape gives {bad_end}.",
    "codec.stft_distance": "Codec: STFT distance to the original {value}, "
    "where an untrained codec of the same shape gives {bad_end}.",
    "codec.si_sdr": "Codec: SI-SDR of the round trip {value}.",
    "codec.loudness_difference": "Codec: loudness against the original {value}.",
    "codec.entropy_bitrate": "Codec: {bad_end} nominal; its codes, one at a time, carry {value}.",
    "lm.cross_entropy": "Language model: {value} per code on held-out music; "
    "guessing by how frequent each code is would cost {bad_end}.",
    "fad.judge.text": "Generated music: FAD[judge] {value}, "
    "where other real music has {good_end} and an untrained model {bad_end}.",
    "text.instrument": "Instrument asked for and heard: {value} of the clips; "
    "real music {good_end}, shuffled texts {bad_end}.",
    "text.genre": "Genre asked for and heard: {value} of the clips; "
    "real music {good_end}, shuffled texts {bad_end}.",
    "chroma.argmax": "Melody followed in {value} of the frames; "
    "the real music scores {good_end}, a shuffled melody {bad_end}.",
}


def format_value(value: float | None, unit: str) -> str:
    """A number with its unit, as short as it can be read; None is what JSON made of a NaN."""
    if value is None or not math.isfinite(value):
        return "not measurable"
    if unit == "share":
        return f"{100 * value:.0f} %"
    if abs(value) >= 100:
        text = f"{value:.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
    return f"{text} {unit}".strip()


def grade(row: Measurement) -> str:
    """good, fair or poor by the way made from the bad end; "" where there is nothing to judge."""
    if row.better == "neither" or row.bad_end is None:
        return ""
    if not math.isfinite(row.value):
        return "poor"
    position = row.position()
    if position is not None:
        return "good" if position >= GOOD_SHARE else "fair" if position >= FAIR_SHARE else "poor"
    gain = row.value - row.bad_end if row.better == "higher" else row.bad_end - row.value
    margin = gain / max(abs(row.bad_end), 1e-9)
    return "good" if margin >= GOOD_MARGIN else "fair" if margin > 0 else "poor"


def summary(rows: Sequence[Measurement]) -> list[Sentence]:
    """The headline figures in words, each beside both ends of its scale."""
    chosen = [row for row in rows if row.name in SUMMARIES] or list(rows[:5])
    return [Sentence(_say(row), grade(row)) for row in chosen]


def weak_points(rows: Sequence[Measurement], faults: Mapping[str, Any]) -> list[str]:
    """Every figure that is not good, worst first, and every set of clips with faults."""
    order = {"poor": 0, "fair": 1}
    weak = sorted((row for row in rows if grade(row) in order), key=lambda row: order[grade(row)])
    return [_weakness(row) for row in weak] + fault_sentences(faults)


def fault_sentences(faults: Mapping[str, Any]) -> list[str]:
    """Every set of clips with faults, as metrics.json counts them, and the unreadable by name."""
    sentences = []
    for name, counts in faults.items():
        found = {kind: counts[kind] for kind in ("silent", "short", "non_finite") if counts[kind]}
        if found:
            listed = ", ".join(f"{count} {kind}" for kind, count in found.items())
            sentences.append(f"{name}: {listed} of {counts['n_clips']} clips.")
        if counts["unreadable"]:
            lost = counts["unreadable"]
            more = f" and {len(lost) - NAMED_FILES} more" if len(lost) > NAMED_FILES else ""
            sentences.append(
                f"{name}: {len(lost)} unreadable, left out: {', '.join(lost[:NAMED_FILES])}{more}."
            )
    return sentences


def _ends(row: Measurement) -> dict[str, str]:
    ends = {"value": row.value, "good_end": row.good_end, "bad_end": row.bad_end}
    return {
        name: "–" if value is None else format_value(value, row.unit)
        for name, value in ends.items()
    }


def _say(row: Measurement) -> str:
    default = f"{row.title}: {{value}} (floor {{good_end}}, ceiling {{bad_end}})."
    return SUMMARIES.get(row.name, default).format(**_ends(row))


def _weakness(row: Measurement) -> str:
    ends, position = _ends(row), row.position()
    if not math.isfinite(row.value):
        return f"{row.title}: could not be measured."
    if position is None:
        gain = "hardly better than" if grade(row) == "fair" else "no better than"
        return f"{row.title}: {ends['value']}, {gain} {ends['bad_end']} ({row.bad_end_is})."
    return (
        f"{row.title}: {ends['value']}, only {100 * position:.0f} % of the way from "
        f"{ends['bad_end']} ({row.bad_end_is}) to {ends['good_end']} ({row.good_end_is})."
    )
