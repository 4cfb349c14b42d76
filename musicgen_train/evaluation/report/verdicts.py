"""Measurements in plain words: a grade, the summary, and what is weak."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.number_text import (
    format_end,
    format_value,
    listed,
    with_interval,
)

GOOD_SHARE, FAIR_SHARE = 0.6, 0.25  # of the way from the bad end to the good end
NAMED_FILES = 5
FAULTS = {  # in metrics.json -> in words
    "silent": "silent",
    "short": "shorter than 1 s",
    "long": "longer than 1 min",
    "non_finite": "with samples that are no numbers",
}
GOOD_MARGIN = 0.1  # relative gain over the bad end where no good end is known
UNSURE = "unsure"  # the interval reaches from what would be good to what would be poor


class Sentence(NamedTuple):
    """One line of the summary and the colour of its dot."""

    text: str
    grade: str


WHOLE_SENTENCES = {
    "codec.mel_distance": "Codec: mel distance to the original {value}, "
    "where an untrained codec of the same shape gives {bad_end}.",
    "codec.stft_distance": "Codec: STFT distance to the original {value}, "
    "where an untrained codec of the same shape gives {bad_end}.",
    "codec.si_sdr": "Codec: SI-SDR of the round trip {value}.",
    "codec.loudness_difference": "Codec: loudness against the original {value}.",
    "codec.entropy_bitrate": "Codec: {bad_end} nominal; its codes, one at a time, carry {value}.",
    "text.control_of_real": "Text control is {value} of what real music of these texts reaches; "
    "texts of other tracks reach {bad_end}.",
    "failures.clips": "{music}: {value} of the clips fall silent, are clipped or broken.",
    "failures.clips.text": "{music}: {value} of the clips fall silent, are clipped or broken.",
    "lm.cross_entropy": "Language model: {value} per code on held-out music; "
    "guessing by how frequent each code is would cost {bad_end}.",
}
HEADLINES = {  # metric or family -> what comes before both ends of the scale
    "fad": "{music}: distance to real music, as {listener} hears it (FAD), is {value}",
    "kl": "{music}: what {listener} hears in it differs from the real clip by {value} (KL)",
    "clap": "{music}: agreement with its text (CLAP score) is {value}",
    "text.control": "Text control: {value} of what the texts ask for is heard",
    "text.instrument": "Instrument asked for and heard: {value} of the clips",
    "text.genre": "Genre asked for and heard: {value} of the clips",
    "text.tempo": "Tempo asked for and heard: {value} of the clips whose text says one",
    "long_form.control": "Long pieces: {value} of what was asked is heard in the last quarter",
    "long_form.drift": "Long pieces: the second half is {value} from the first (judge)",
    "chroma.argmax": "Same dominant pitch class as in {melody}: {value} of the frames",
}
SAID_OTHERS = {  # figures beside a value that its sentence names too
    "generated from text, without a melody": "the same texts without a melody",
}
HEADLINE_SYSTEMS = ("", "text")


def grade(row: Measurement) -> str:
    """good, fair, poor or unsure by the way made from the bad end; "" if nothing is to be judged.

    A value is not called good whose interval reaches what is poor, nor poor if it reaches what
    is good.
    """
    found = _grade(row)
    ends = [end for end in row.interval or () if end is not None and math.isfinite(end)]
    possible = {found, *(_grade(replace(row, value=end)) for end in ends)}
    return UNSURE if {"good", "poor"} <= possible and math.isfinite(row.value) else found


def _grade(row: Measurement) -> str:
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
    chosen = [row for row in rows if _template(row)] or list(rows[:5])
    return [Sentence(_say(row), grade(row)) for row in chosen]


def weak_points(rows: Sequence[Measurement], faults: Mapping[str, Any]) -> list[str]:
    """Every figure that is not good, worst first, and every set of clips with faults, by name."""
    order = {"poor": 0, UNSURE: 1, "fair": 2}
    graded = [(row, grade(row)) for row in rows]
    weak = sorted((pair for pair in graded if pair[1] in order), key=lambda pair: order[pair[1]])
    failing = [
        f"{parse_name(row.name).source.music}: {line}."
        for row in rows
        for line in failing_lines(row)
    ]
    return [*(_weakness(row, found) for row, found in weak), *failing, *fault_sentences(faults)]


def failing_lines(row: Measurement) -> list[str]:
    """The clips that a figure counts as failing, by what they do."""
    found: Any = row.settings.get("failing", {})
    return [
        f"{len(names)} of {row.n_clips} {fault}: {listed(names, NAMED_FILES)}"
        for fault, names in found.items()
        if names
    ]


def fault_sentences(faults: Mapping[str, Any]) -> list[str]:
    """Every set of clips with faults, as metrics.json counts them, and the unreadable by name."""
    sentences = []
    for kind, counts in faults.items():
        suspect = {what: counts[key] for key, what in FAULTS.items() if counts[key]}
        suspect |= {f"of {other}": names for other, names in counts["odd_ones"].items()}
        for what, names in suspect.items():
            some = listed(names, NAMED_FILES)
            sentences.append(f"{kind}: {len(names)} of {counts['n_clips']} clips {what}: {some}.")
        if lost := counts["unreadable"]:
            said = [f"{name} ({reason})" for name, reason in lost.items()]
            sentences.append(
                f"{kind}: {len(lost)} unreadable, left out: {listed(said, NAMED_FILES)}."
            )
    return sentences


def _texts(row: Measurement) -> dict[str, str]:
    return {
        "value": with_interval(row.value, row.interval, row.unit),
        "good_end": format_end(row.good_end, row.unit),
        "bad_end": format_end(row.bad_end, row.unit),
    }


def _template(row: Measurement) -> str:
    """The sentence of a headline figure, "" for others."""
    if row.name in WHOLE_SENTENCES:
        return WHOLE_SENTENCES[row.name]
    name = parse_name(row.name)
    lead = HEADLINES.get(name.metric) or HEADLINES.get(name.family, "")
    return lead + "{ends}." if lead and name.system in HEADLINE_SYSTEMS else ""


def _say(row: Measurement) -> str:
    name = parse_name(row.name)
    known = [(row.good_end, row.good_end_is), (row.bad_end, row.bad_end_is)]
    known += [(row.others[name], what) for name, what in SAID_OTHERS.items() if name in row.others]
    ends = [f"{what}: {format_value(end, row.unit)}" for end, what in known if end is not None]
    template = _template(row) or f"{row.title}: {{value}}{{ends}}."
    return template.format(
        music=name.source.music,
        listener=name.listener,
        melody="the real clip" if row.good_end is None else "the melody asked for",
        ends="".join(f"; {end}" for end in ends),
        **_texts(row),
    )


def _weakness(row: Measurement, found: str) -> str:
    texts, position = _texts(row), row.position()
    if not math.isfinite(row.value):
        return f"{row.title}: could not be measured."
    if found == UNSURE:
        return (
            f"{row.title}: {texts['value']}: too unsure to call it better than "
            f"{texts['bad_end']} ({row.bad_end_is}), or not; measure more clips."
        )
    if position is None:
        gain = "hardly better than" if found == "fair" else "no better than"
        return f"{row.title}: {texts['value']}, {gain} {texts['bad_end']} ({row.bad_end_is})."
    return (
        f"{row.title}: {texts['value']}, only {100 * position:.0f} % of the way from "
        f"{texts['bad_end']} ({row.bad_end_is}) to {texts['good_end']} ({row.good_end_is})."
    )
