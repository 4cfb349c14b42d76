"""Statistics of the metadata of a dataset's segments, one segment at a time."""

import math
import re
from collections import Counter
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from data_prep.inspection.counting import Histogram, Tally

LISTED = ("genre", "moods", "instrument", "key")
_DULL_WORDS = frozenset((
    "a", "an", "and", "are", "as", "at", "by", "for", "from", "in", "into", "is", "it", "its", "of",
    "on", "or", "that", "the", "this", "to", "with",
))  # fmt: skip


class Statistics:
    """What the segments' JSON says, in memory that grows only with tracks and artists."""

    def __init__(self) -> None:
        self.n = 0  # segments
        self.n_damaged = 0  # … of which the JSON could not be read
        self.present: Counter[str] = Counter()  # segments that have a field
        self.estimated: Counter[str] = Counter()  # … whose value comes from the audio
        self.tracks: dict[int, int] = {}  # hash -> bits of the splits that it is in
        self.artists: dict[int, int] = {}
        self.descriptions: set[int] = set()  # hashes
        self.top_artists = Tally()
        self.words = Tally()
        self.n_words = Histogram(0, 60, 1, group=2)
        self.listed = {name: Tally() for name in LISTED}
        self.bpm = Histogram(40, 240, 1, group=5)
        self.loudness = Histogram(-70, 6, 0.1, group=10)  # LUFS
        self.n_silent = 0
        self.silence = Histogram(0, 1, 0.01, group=5)  # share of a segment

    def add(self, metadata: Mapping[str, Any] | None, split: int) -> None:
        """Count one segment; None stands for JSON that could not be read."""
        self.n += 1
        if metadata is None:
            self.n_damaged += 1
            return
        estimated = set(_texts(metadata.get("estimated")))
        self._add_track(metadata, 1 << split)
        self._add_texts(metadata, estimated)
        self._add_sound(metadata, estimated)

    def missing(self, field: str) -> float:
        """Share of the segments without a field."""
        return 1 - self.present[field] / max(self.n, 1)

    def _add_track(self, metadata: Mapping[str, Any], bit: int) -> None:
        track, artist = _text(metadata.get("track_id")), _text(metadata.get("artist"))
        if track:
            self.tracks[hash(track)] = self.tracks.get(hash(track), 0) | bit
        if artist:
            self.present["artist"] += 1
            self.top_artists.add(artist)
            name = hash(artist.casefold())
            self.artists[name] = self.artists.get(name, 0) | bit

    def _add_texts(self, metadata: Mapping[str, Any], estimated: set[str]) -> None:
        if text := _text(metadata.get("description")):
            self._note("description", "description" in estimated)
            self.descriptions.add(hash(text))
            n_words, words = _words(text)
            self.n_words.add(n_words)
            for word in words:
                self.words.add(word)
        for name, tally in self.listed.items():
            if values := _texts(metadata.get(name)):
                self._note(name, name in estimated)
                for value in values:
                    tally.add(value, name in estimated)

    def _add_sound(self, metadata: Mapping[str, Any], estimated: set[str]) -> None:
        if (bpm := number_in(metadata.get("bpm"))) is not None:
            self._note("bpm", "bpm" in estimated)
            self.bpm.add(bpm, "bpm" in estimated)
        if "loudness" in metadata:
            self.present["loudness"] += 1
            loudness = number_in(metadata["loudness"])
            if loudness is None:
                self.n_silent += 1
            else:
                self.loudness.add(loudness)
        if (silence := number_in(metadata.get("silence"))) is not None:
            self.present["silence"] += 1
            self.silence.add(silence)

    def _note(self, field: str, estimated: bool) -> None:
        self.present[field] += 1
        self.estimated[field] += estimated


@lru_cache(maxsize=256)  # the segments of a track follow each other
def _words(text: str) -> tuple[int, tuple[str, ...]]:
    """How many words, and the different ones that say something, in lower case."""
    words = re.findall(r"[^\W_]+(?:['’-][^\W_]+)*", text.lower())
    telling = {word: None for word in words if word not in _DULL_WORDS and not word.isdigit()}
    return len(words), tuple(telling)


def _text(value: Any) -> str:
    return value.strip() if isinstance(value, str) else ""


def _texts(value: Any) -> list[str]:
    """The different texts of a text or a list."""
    values = value if isinstance(value, list) else [value]
    return list(dict.fromkeys(filter(None, map(_text, values))))


def number_in(value: Any) -> float | None:
    """A finite number, or the one that a text spells; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except (ValueError, OverflowError):
        return None
    return number if math.isfinite(number) else None
