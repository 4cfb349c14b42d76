"""Texts that belong to clips, and what they ask for, read from a file of the user's."""

from __future__ import annotations

import csv
import json
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from musicgen_train.data.audio import AUDIO_SUFFIXES
from musicgen_train.errors import UserError
from musicgen_train.evaluation.asked_tempo import tempo_phrase

KINDS = (".json", ".jsonl", ".csv")
LABELS = ("instrument", "genre")
_Row = Mapping[str, Any]


class AskedText(NamedTuple):
    """A text, and what the row of the file says that it asks for."""

    text: str
    wanted: Mapping[str, str | None]  # instrument and genre by their fields, and the tempo


def read_texts(path: Path | str) -> dict[str, str]:
    """Text by clip name, as `read_asked_texts` reads the file."""
    return {name: asked.text for name, asked in read_asked_texts(path).items()}


def read_asked_texts(path: Path | str) -> dict[str, AskedText]:
    """Text and what it asks for by clip name, as `clip_name` spells it, in the order of the file.

    The file is a JSON object {name: text} or {name: {"text": …}}, JSONL of {"name": …, "text": …},
    or CSV with the columns name and text. The fields instrument, genre and bpm say what is asked
    for; without bpm the tempo is what the text says of it. Other fields are left alone. Raises
    UserError in one line, with the number of the line, for what is none of these, twice there, or
    empty.
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
    readers = {".json": _json_rows, ".jsonl": _jsonl_rows, ".csv": _csv_rows}
    texts = _checked(path, readers[path.suffix.lower()](path, written))
    if not texts:
        raise UserError(f"{path}: holds no texts; write a name and a text for each clip")
    return texts


def clip_name(name: str) -> str:
    """How a clip is called in every folder: its relative name with / and no audio suffix."""
    pure = PurePosixPath(name.replace("\\", "/"))
    return str(pure.with_suffix("") if pure.suffix.lower() in AUDIO_SUFFIXES else pure)


def _checked(path: Path, rows: Iterable[tuple[str, _Row]]) -> dict[str, AskedText]:
    """The texts of (place, fields), each name there once."""
    texts: dict[str, AskedText] = {}
    places: dict[str, str] = {}
    for place, row in rows:
        name, text = row.get("name"), row.get("text")
        if not isinstance(name, str) or not name.strip():
            raise UserError(f"{path}, {place}: has no name; write the name of a clip")
        if not isinstance(text, str) or not text.strip():
            raise UserError(f"{path}, {place}: {name!r} has no text; write one, or take it out")
        if any("\ud800" <= letter <= "\udfff" for letter in name + text):
            raise UserError(f"{path}, {place}: holds half a UTF-16 pair; write the whole letter")
        key = clip_name(name.strip())
        if key in texts:
            raise UserError(f"{path}, {place}: {name!r} was in {places[key]} before; keep one")
        text = " ".join(text.split())
        texts[key], places[key] = AskedText(text, _wanted(f"{path}, {place}", row, text)), place
    return texts


def _wanted(place: str, row: _Row, text: str) -> dict[str, str | None]:
    """What the fields of a row ask for."""
    found: dict[str, str | None] = {}
    for field in LABELS:
        value = row.get(field)
        value = (value[0] if value else None) if isinstance(value, list) else value
        if value is not None and not isinstance(value, str):
            raise UserError(f"{place}: {field} is {value!r:.40}; write a word, or leave it out")
        found[field] = value.strip() or None if value else None
    bpm = row.get("bpm")
    found["tempo"] = tempo_phrase(text) if bpm in (None, "") else f"{_bpm(place, bpm):g} bpm"
    return found


def _bpm(place: str, value: Any) -> float:
    try:
        bpm = float(value)
    except (TypeError, ValueError):
        bpm = math.nan
    if not 0 < bpm < math.inf:
        raise UserError(f"{place}: bpm is {value!r:.40}; write a number, or leave it out")
    return bpm


def _json_rows(path: Path, written: str) -> Iterator[tuple[str, _Row]]:
    # Pairs, not a dict: a name that is there twice would vanish quietly.
    found = _parsed(path, written, 1, object_pairs_hook=_Pairs)
    if not isinstance(found, _Pairs):
        raise UserError(f"{path}: must be an object of name: text; or write rows, as .jsonl")
    for number, (name, said) in enumerate(found, 1):
        fields = dict(said) if isinstance(said, _Pairs) else {"text": said}
        yield f"entry {number}", {**fields, "name": name}


def _jsonl_rows(path: Path, written: str) -> Iterator[tuple[str, _Row]]:
    # Split at newlines only: JSON strings may hold other separators that splitlines() cuts at.
    for number, line in enumerate(written.split("\n"), 1):
        if not line.strip():
            continue
        row = _parsed(path, line, number)
        if not isinstance(row, dict) or not {"name", "text"} <= row.keys():
            raise UserError(
                f'{path}, line {number}: must be an object with "name" and "text"; mend the line'
            )
        yield f"line {number}", row


def _csv_rows(path: Path, written: str) -> Iterator[tuple[str, _Row]]:
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
            yield f"line {rows.line_num}", row
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
