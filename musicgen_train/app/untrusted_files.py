"""Files of runs that nobody vouches for: read within bounds, and never outside their folder."""

import json
import math
import os
import stat
import unicodedata
from pathlib import Path
from typing import Any

MOST_BYTES = 16 * 2**20
_TURNING = frozenset(
    "\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069"
)  # the text's direction


def regular_file(folder: Path, *parts: str, most: int = 2**33) -> Path | None:
    """The resolved path of a regular file in `folder`, of at most so many bytes; else None.

    Neither `..` nor absolute names nor symbolic links lead out of the folder.
    """
    try:
        root = folder.resolve()
        path = root.joinpath(*parts).resolve(strict=True)
        found = path.stat()
    except (OSError, ValueError, RuntimeError):  # also of a name that no file can have
        return None
    inside = path.is_relative_to(root) and path != root
    return path if inside and stat.S_ISREG(found.st_mode) and found.st_size <= most else None


def read_text(folder: Path, *parts: str, most: int = MOST_BYTES) -> str | None:
    """A text file in `folder`, what is no UTF-8 replaced; None if there is none to be read."""
    if regular_file(folder, *parts, most=most) is None:
        return None
    data = read_end(folder, *parts, most=most)
    return None if data is None else data.decode(errors="replace")


def read_end(folder: Path, *parts: str, most: int) -> bytes | None:
    """The last bytes of a file in `folder`, at most so many."""
    path = regular_file(folder, *parts)
    if path is None:
        return None
    try:
        # Should it have become a pipe in the meantime, opening it must not wait for a writer.
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            file.seek(max(0, file.seek(0, os.SEEK_END) - most))
            return file.read(most)
    except OSError:
        return None


def read_object(folder: Path, *parts: str) -> dict[str, Any]:
    """The mapping of a JSON file in `folder`; {} if it is none, damaged, half written or huge."""
    text = read_text(folder, *parts)
    return {} if text is None else parse_object(text)


def parse_object(text: str) -> dict[str, Any]:
    """The mapping of a JSON text, NaN and infinities as None; {} if it is none."""
    try:
        content = json.loads(text, parse_constant=lambda _: None)
    except (ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}


def as_text(value: object, most: int = 1000) -> str:
    """A text without control characters, of bounded length; "" for anything else."""
    return cleaned(value[: most + 1], most) if isinstance(value, str) else ""


def cleaned(text: str, most: int) -> str:
    """Shortened, and without what a page or an encoder stumbles over; line ends stay."""
    kept = "".join(c for c in text if c == "\n" or not _is_control(c))
    return kept if len(kept) <= most else kept[: most - 1] + "…"


def _is_control(letter: str) -> bool:
    return unicodedata.category(letter) in ("Cc", "Cs") or letter in _TURNING


def as_number(value: object, least: float = -math.inf, most: float = math.inf) -> float | None:
    """A finite number within bounds; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:  # an integer of 400 digits
        return None
    return number if math.isfinite(number) and least <= number <= most else None


def as_whole(value: object, least: int = 0, most: int = 2**53) -> int | None:
    """A whole number within bounds; None for anything else."""
    return value if type(value) is int and least <= value <= most else None


def as_list(value: object, most: int = 1000) -> list[Any]:
    """The first entries of a list; [] for anything else."""
    return value[:most] if isinstance(value, list) else []


def as_mapping(value: object, most: int = 1000) -> dict[str, Any]:
    """The first entries of a mapping; {} for anything else."""
    return dict(list(value.items())[:most]) if isinstance(value, dict) else {}


def as_plain(value: object, depth: int = 5) -> Any:
    """JSON of bounded depth and length, to be compared and shown."""
    if isinstance(value, dict) and depth:
        return {as_text(k, 100): as_plain(v, depth - 1) for k, v in as_mapping(value, 200).items()}
    if isinstance(value, list) and depth:
        return [as_plain(entry, depth - 1) for entry in value[:200]]
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int | float):
        return as_number(value) if isinstance(value, float) else as_whole(value, -(2**53))
    return as_text(value) if isinstance(value, str) else "…"
