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
_DENIED_BEFORE = {"no", "non", "not", "without", "zero", "minu", "off"}  # without a plural s
_BETWEEN = {"any", "human", "lead", "main"}  # "no lead vocals", but not "no autotune vocals"
_DENIED_AFTER = {"free", "les", "removed", "off"}


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
    """Whether one of the words is in the tag and is not denied there, between the same commas."""
    clauses = [_tokens(clause) for clause in re.split("[,;]", unicodedata.normalize("NFKC", tag))]
    return any(
        not _is_denied(clause[:start], clause[stop:])
        for word in words
        for clause in clauses
        for start, stop in _places(_tokens(word), clause)
    )


def _is_denied(before: list[str], after: list[str]) -> bool:
    """Denials stand beside the word: "no drums but vocals" and "non-stop singing" are none."""
    if before and before[-1] in _BETWEEN and before[-2:-1] != ["non"]:
        before = before[:-1]
    return bool(_DENIED_BEFORE & set(before[-1:]) or _DENIED_AFTER & set(after[:1]))


def _tokens(text: str) -> list[str]:
    plain = unicodedata.normalize("NFKC", text).casefold()
    return [token.removesuffix("s") for token in re.findall(r"[^\W_]+", plain)]


def _places(word: list[str], tokens: list[str]) -> Iterable[tuple[int, int]]:
    for start in range(len(tokens) - len(word) + 1):
        if word and tokens[start : start + len(word)] == word:
            yield start, start + len(word)
