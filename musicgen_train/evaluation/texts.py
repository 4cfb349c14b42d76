"""Texts that belong to clips, read from a file of the user's."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

from musicgen_train.data.audio import AUDIO_SUFFIXES
from musicgen_train.errors import UserError

KINDS = (".json", ".jsonl", ".csv")


def read_texts(path: Path | str) -> dict[str, str]:
    """Text by clip name, as `clip_name` spells it, in the order of the file.

    The file is a JSON object {name: text}, JSONL of {"name": …, "text": …}, or CSV with the columns
    name and text; other fields and columns are left alone. Raises UserError in one line, with the
    number of the line, for what is none of these, twice there, or empty.
    """
    path = Path(path)
    if path.suffix.lower() not in KINDS:
        raise UserError(f"{path}: texts are read from {', '.join(KINDS)}; name the file so")
    try:
        written = path.read_text("utf-8-sig")  # spreadsheets begin CSV with a byte order mark
    except FileNotFoundError:
        raise UserError(f"{path}: no such file of texts; check the path") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend that") from None
    except UnicodeDecodeError as error:
        raise UserError(f"{path}: is not UTF-8 (byte {error.start}); save it as UTF-8") from None
    readers = {".json": _json_pairs, ".jsonl": _jsonl_pairs, ".csv": _csv_pairs}
    texts = _checked(path, readers[path.suffix.lower()](path, written))
    if not texts:
        raise UserError(f"{path}: holds no texts; write a name and a text for each clip")
    return texts


def clip_name(name: str) -> str:
    """How a clip is called in every folder: its relative name with / and no audio suffix."""
    pure = PurePosixPath(name.replace("\\", "/"))
    return str(pure.with_suffix("") if pure.suffix.lower() in AUDIO_SUFFIXES else pure)


def _checked(path: Path, pairs: Iterable[tuple[str, object, object]]) -> dict[str, str]:
    """The texts of (place, name, text), each there once."""
    texts: dict[str, str] = {}
    places: dict[str, str] = {}
    for place, name, text in pairs:
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{path}, {place}: has no name; write the name of a clip")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{path}, {place}: {name!r} has no text; write one, or take it out")
        if any("\ud800" <= letter <= "\udfff" for letter in name + text):
            raise UserError(f"{path}, {place}: holds half a UTF-16 pair; write the whole letter")
        key = clip_name(name.strip())
        if key in texts:
            raise UserError(f"{path}, {place}: {name!r} was in {places[key]} before; keep one")
        texts[key], places[key] = " ".join(text.split()), place
    return texts


def _json_pairs(path: Path, written: str) -> Iterator[tuple[str, object, object]]:
    # Pairs, not a dict: a name that is there twice would vanish quietly.
    found = _parsed(path, written, 1, object_pairs_hook=_Pairs)
    if not isinstance(found, _Pairs):
        raise UserError(f"{path}: must be an object of name: text; or write rows, as .jsonl")
    for number, (name, text) in enumerate(found, 1):
        yield f"entry {number}", name, text


def _jsonl_pairs(path: Path, written: str) -> Iterator[tuple[str, object, object]]:
    # Split at newlines only: JSON strings may hold other separators that splitlines() cuts at.
    for number, line in enumerate(written.split("\n"), 1):
        if not line.strip():
            continue
        row = _parsed(path, line, number)
        if not isinstance(row, dict) or not {"name", "text"} <= row.keys():
            raise UserError(
                f'{path}, line {number}: must be an object with "name" and "text"; mend the line'
            )
        yield f"line {number}", row["name"], row["text"]


def _csv_pairs(path: Path, written: str) -> Iterator[tuple[str, object, object]]:
    rows = csv.DictReader(written.splitlines(keepends=True), strict=True)
    try:
        columns = rows.fieldnames or []
        if not {"name", "text"} <= set(columns):
            raise UserError(
                f"{path}, line 1: has the columns {', '.join(columns) or 'none'}; "
                "it needs name and text, with commas between"
            )
        for row in rows:
            if None in row or None in row.values():
                raise UserError(
                    f"{path}, line {rows.line_num}: has not {len(columns)} columns as line 1 has; "
                    "put a text with commas in double quotes"
                )
            yield f"line {rows.line_num}", row["name"], row["text"]
    except csv.Error as error:
        raise UserError(
            f"{path}, line {rows.reader.line_num}: is no CSV ({error}); mend it"
        ) from None


class _Pairs(list):
    """A JSON object as its (name, value) pairs."""


def _parsed(path: Path, written: str, first_line: int, **options) -> object:
    try:
        return json.loads(written, **options)
    except json.JSONDecodeError as error:
        line = first_line + error.lineno - 1
        raise UserError(f"{path}, line {line}: is no JSON ({error.msg}); mend it") from None
    except RecursionError:
        raise UserError(f"{path}: is nested too deeply to be read; flatten it") from None
