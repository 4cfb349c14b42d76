"""What two numbers of one name differ in besides the system: whether they can be compared."""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.record import label

# Findings about the clips, or draws that move a value less than its interval says.
NO_MATTER = {
    "dropped", "draws_seed", "distances", "voiced_share", "reference_dropped", "frames", "interval",
    "failing",
}  # fmt: skip
SET_FAMILIES = ("fad", "fad_inf", "kad", "density", "coverage")
BIASED = ("fad", "density", "coverage")  # by the number of clips
SAME_NUMBER = 0.05  # relative difference in clips, or their windows, that does not matter
SHORTENED = 40  # characters of a value in a sentence


class Difference(NamedTuple):
    """A field of two records that is not the same; `serious` if the numbers cannot be compared."""

    field: str
    first: object
    second: object
    serious: bool = True

    def __str__(self) -> str:
        return f"{label(self.field)}: {_brief(self.first)}, here {_brief(self.second)}"


def protocol_differences(first: Measurement, second: Measurement) -> list[Difference]:
    """Every field in which the protocol records of two measurements of one name differ.

    The floor counts as one where it depends on the reference alone: another floor of a distance
    between sets means other reference music.
    """
    a, b = _plain(first.settings), _plain(second.settings)
    ignored = set(NO_MATTER)
    if "weights_sha256" in a and "weights_sha256" in b:
        ignored.add("weights")  # one file may have two names
    fields = [key for key in {**a, **b} if key not in ignored]
    found = [Difference(key, a.get(key), b.get(key)) for key in fields if a.get(key) != b.get(key)]
    for key, one, other in (("unit", first.unit, second.unit),
                            ("better", first.better, second.better)):  # fmt: skip
        if one != other:
            found.append(Difference(key, one, other))
    return [*found, *_floors(first, second), *_numbers(first, second)]


def _floors(first: Measurement, second: Measurement) -> list[Difference]:
    if parse_name(first.name).family not in SET_FAMILIES:
        return []
    if (first.good_end, first.good_end_is) == (second.good_end, second.good_end_is):
        return []
    return [Difference("floor of the reference", first.good_end, second.good_end)]


def _numbers(first: Measurement, second: Measurement) -> list[Difference]:
    """How many clips, which biases some figures, and how many windows each has."""
    biased, found = parse_name(first.name).family in BIASED, []
    if first.n_clips != second.n_clips:
        far = _apart(first.n_clips, second.n_clips)
        found.append(Difference("clips", first.n_clips, second.n_clips, biased and far))
    if first.n_vectors and second.n_vectors:
        a, b = (row.n_vectors / max(1, row.n_clips) for row in (first, second) if row.n_vectors)
        if _apart(a, b):
            found.append(Difference("windows per clip", a, b))
    return found


def _apart(a: float, b: float) -> bool:
    return abs(a - b) > SAME_NUMBER * max(a, b)


def _plain(settings: Mapping[str, object]) -> dict[str, object]:
    """Settings as JSON has them."""
    return {key: list(v) if isinstance(v, tuple) else v for key, v in settings.items()}


def _brief(value: object) -> str:
    text = "none" if value is None else f"{value:.6g}" if isinstance(value, float) else str(value)
    return text if len(text) <= SHORTENED else f"{text[: SHORTENED - 1]}…"
