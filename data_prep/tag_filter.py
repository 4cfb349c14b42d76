"""Whether a track's tags say that somebody sings or speaks in it."""

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Any

TAGS = ("genre", "moods", "instrument", "keywords")
VOCAL_WORDS = (
    "vocal", "vocalist", "vocoder", "voice", "singing", "singer", "sung", "song with lyrics",
    "choir", "choral", "chorus", "rap", "rapper", "rapping", "speech", "spoken word", "beatbox",
    "a cappella", "acappella", "acapella", "a capella", "opera", "aria", "scat", "humming",
)  # fmt: skip
_DENIED_BEFORE = {"no", "non", "not", "without", "zero", "minus"}
_DENIED_AFTER = {"free", "less", "removed", "off"}


def vocal_tag(metadata: Mapping[str, Any], words: Iterable[str] = VOCAL_WORDS) -> str | None:
    """The first tag with one of the words, as "instrument: choir"; None without any.

    Whole words count, with or without a plural s. "no vocals" and "vocal-free" do not count.
    """
    words = tuple(words)
    for field in TAGS:
        value = metadata.get(field) or []
        for tag in value if isinstance(value, list | tuple) else [value]:
            if says_vocals(str(tag), words):
                return f"{field}: {tag}"
    return None


def says_vocals(tag: str, words: Iterable[str] = VOCAL_WORDS) -> bool:
    """Whether one of the words is in the tag and is not denied there."""
    tokens = _tokens(tag)
    return any(
        not _DENIED_BEFORE & set(tokens[:start])
        and not _DENIED_AFTER & set(tokens[stop : stop + 1])
        for word in words
        for start, stop in _places(_tokens(word), tokens)
    )


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [token.removesuffix("s") for token in re.findall(r"[^\W_]+", plain)]


def _places(word: list[str], tokens: list[str]) -> Iterable[tuple[int, int]]:
    for start in range(len(tokens) - len(word) + 1):
        if word and tokens[start : start + len(word)] == word:
            yield start, start + len(word)
