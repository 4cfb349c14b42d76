"""A sentence from a track's metadata, for tracks that nobody has described."""

from collections.abc import Mapping
from typing import Any

from data_prep.tag_filter import says_vocals


def compose_description(metadata: Mapping[str, Any]) -> str:
    """A caption from genre, moods, instrument, keywords, bpm and key; "" without any of them.

    Reads like "Calm, warm folk with flute and guitar, fingerpicked, 93 bpm, in F minor". Tags
    about vocals are left out, since the music has none.
    """
    genre, moods, instrument, keywords = (
        _tags(metadata.get(name)) for name in ("genre", "moods", "instrument", "keywords")
    )
    if not (genre or moods or instrument or keywords):
        start = ["music"] if metadata.get("bpm") or metadata.get("key") else []
    else:
        kind = " ".join(filter(None, [", ".join(moods), " and ".join(genre) or "music"]))
        start = [f"{kind} with {_and(instrument)}" if instrument else kind]
    said = {tag.casefold() for tag in (*genre, *moods, *instrument)}
    new = {tag.casefold(): tag for tag in keywords if tag.casefold() not in said}
    parts = [*start, *new.values()]
    if bpm := metadata.get("bpm"):
        parts.append(f"{round(bpm)} bpm")
    if key := metadata.get("key"):
        parts.append(f"in {key}")
    text = ", ".join(parts)
    return text[:1].upper() + text[1:]


def _tags(value: Any) -> list[str]:
    tags = value if isinstance(value, list | tuple) else [value] if value else []
    return [_lower(str(tag)) for tag in tags if not says_vocals(str(tag))]


def _lower(tag: str) -> str:
    """Tags in the middle of a sentence; abbreviations such as EDM stay."""
    return " ".join(word if word.isupper() else word.lower() for word in tag.split())


def _and(words: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(words[:-1]), words[-1]]))
