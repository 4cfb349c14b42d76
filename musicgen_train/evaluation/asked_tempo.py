"""The tempo that a text asks for: bpm that it names, or a word such as "slow"."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from itertools import pairwise

WORDS = {  # word -> bpm from and below; as the demo corpus and its judge use them
    "slow": (0.0, 80.0),
    "unhurried": (0.0, 80.0),
    "relaxed": (80.0, 100.0),
    "laid-back": (80.0, 100.0),
    "mid-tempo": (100.0, 124.0),
    "steady": (100.0, 124.0),
    "fast": (124.0, math.inf),
    "up-tempo": (124.0, math.inf),
    "brisk": (124.0, math.inf),
}
TOLERANCE = 0.04  # relative; bpm within it of what was asked count as the same
BPM = re.compile(r"\b(\d{2,3}(?:\.\d+)?)\s*(?:bpm|beats per minute)\b", re.IGNORECASE)
# "Slow pads" and "fast square-wave arpeggios" are sounds in music of any tempo.
WORD = re.compile(
    rf"(?<![\w-])({'|'.join(WORDS)})(?![\w-])(?!(?:\s+[\w-]+)?\s+(?:pads?|arpeggios?|runs?|licks?)\b)",
    re.IGNORECASE,
)
RULE = (
    f"bpm that the text names, ±{TOLERANCE:.0%}, else the range of its tempo word; a class that "
    "holds some of these bpm counts as asked for; texts that name no tempo do not count"
)


def tempo_phrase(text: str) -> str | None:
    """What a text says of the tempo, "120 bpm" or "slow"; None if nothing, or two things."""
    named = {f"{float(bpm):g} bpm" for bpm in BPM.findall(text)}
    if named:
        return named.pop() if len(named) == 1 else None
    words = {word.lower() for word in WORD.findall(text)}
    return min(words) if len({WORDS[word] for word in words}) == 1 else None


def tempo_range(phrase: str) -> tuple[float, float]:
    """The bpm of a phrase of `tempo_phrase`, from and below."""
    if phrase in WORDS:
        return WORDS[phrase]
    bpm = float(phrase.removesuffix(" bpm"))
    return bpm * (1 - TOLERANCE), bpm * (1 + TOLERANCE)


def tempo_classes(phrase: str, edges: Sequence[float]) -> list[int]:
    """The classes between `edges` that hold a tempo of the phrase: 0 is below the first edge."""
    low, high = tempo_range(phrase)
    bounds = pairwise((-math.inf, *edges, math.inf))
    return [place for place, (start, end) in enumerate(bounds) if low < end and high > start]
