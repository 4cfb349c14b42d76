"""The fields that describe a track, and how values from anywhere become fit for them."""

import re
import unicodedata
from collections.abc import Mapping
from typing import Any

from data_prep.key_names import parse_key

FIELDS = (
    "description", "title", "artist", "genre", "moods", "instrument", "keywords", "bpm", "key",
)  # fmt: skip
LISTS = ("genre", "moods", "instrument", "keywords")
# Other names that tags, tables and published datasets use.
_ALIASES = {
    "caption": "description", "text": "description",
    "albumartist": "artist", "album_artist": "artist",
    "genres": "genre", "mood": "moods", "tmoo": "moods", "instruments": "instrument",
    "tags": "keywords", "aspect_list": "keywords",
    "tempo": "bpm", "tbpm": "bpm", "initial_key": "key", "initialkey": "key", "tkey": "key",
}  # fmt: skip
# What programs write where nothing is known. An artist of this name would tie up a whole library.
_UNKNOWN = {
    "", "-", "?", "n/a", "na", "nan", "none", "null", "unknown", "undefined", "other", "misc",
    "unknown artist", "various", "various artists", "untitled", "unknown genre", "unknown title",
}  # fmt: skip
_LONGEST = {"description": 4000}  # characters, so that no tag can bloat the shards
_LONGEST_OTHER = 200
_MOST_ITEMS = 50


def normalise(metadata: Mapping[Any, Any]) -> dict[str, Any]:
    """The known fields with values of the right types; what cannot be mended is left out.

    description, title, artist and key become str; genre, moods, instrument and keywords lists of
    str; bpm an int or float.
    """
    named = {str(name).strip().lower().replace(" ", "_"): value for name, value in metadata.items()}
    found: dict[str, Any] = {}
    for name in (*FIELDS, *_ALIASES):
        field = _ALIASES.get(name, name)
        if field not in found and (value := _mended(field, named.get(name))):
            found[field] = value
    return {field: found[field] for field in FIELDS if field in found}


def _mended(field: str, value: Any) -> Any:
    if field in LISTS:
        return _items(value)
    if isinstance(value, list | tuple):
        if field == "artist":
            return _text(", ".join(filter(None, map(_text, value))))
        value = next((item for item in value if _text(item)), None)
    if field == "bpm":
        return _bpm(value)
    text = _text(value, _LONGEST.get(field, _LONGEST_OTHER))
    return (parse_key(text) or (text if " " in text else None)) if field == "key" else text


def _text(value: Any, longest: int = _LONGEST_OTHER) -> str:
    """One line without control characters; "" if there is nothing in it."""
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        return ""
    # The slice comes first: a tag may hold megabytes. NFC: one spelling of each accented letter.
    text = unicodedata.normalize("NFC", str(value)[: 4 * longest])
    text = "".join(" " if unicodedata.category(c) in ("Cc", "Cs", "Zl", "Zp") else c for c in text)
    text = " ".join(text.split())[:longest].strip()
    return "" if text.casefold() in _UNKNOWN else text


def _items(value: Any) -> list[str]:
    """A list from a list, or from text such as "a; b" or "['a', 'b']", each item once."""
    if isinstance(value, str):
        value = value[:10000].strip().removeprefix("[").removesuffix("]").split(",")
    if not isinstance(value, list | tuple):
        value = [value]
    found: dict[str, str] = {}
    for item in value[:1000]:
        for part in re.split(r"[;|\0\n]", item[:10000]) if isinstance(item, str) else [item]:
            text = _text(part.strip(" \t'\"") if isinstance(part, str) else part)
            if text:
                found.setdefault(text.casefold(), text)
    return list(found.values())[:_MOST_ITEMS]


def _bpm(value: Any) -> int | float | None:
    if isinstance(value, str):
        number = re.fullmatch(r"\s*(\d{1,4}(?:[.,]\d{1,20})?)\s*(?:bpm)?\s*", value, re.IGNORECASE)
        value = float(number[1].replace(",", ".")) if number else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    if not 20 <= value <= 400:
        return None  # 0 stands for unknown in many a program
    return int(value) if float(value).is_integer() else round(value, 2)
