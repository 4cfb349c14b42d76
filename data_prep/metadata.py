"""What is known of tracks: from a table, from JSON files beside them, from tags inside them."""

import csv
import io
import json
import posixpath
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TextIO

from data_prep.fields import normalise
from musicgen_train.errors import UserError

_FILE_COLUMNS = ("file", "path", "file_name", "filename", "file_path", "filepath", "name")
_JSONL = (".jsonl", ".ndjson")
_LARGEST_SIDECAR = 16 * 2**20  # bytes
_LARGEST_TAG = 64 * 2**20  # bytes; a cover in print quality has a third of it


def merge(*sources: Mapping[str, Any]) -> dict[str, Any]:
    """The known fields of all sources, normalised; where several have a field, the first wins."""
    merged: dict[str, Any] = {}
    for source in sources:
        merged = normalise(source) | merged
    return merged


def read_sidecar(path: Path) -> dict[str, Any]:
    """The JSON object beside a track, as it is (stems included)."""
    with path.open("rb") as file:
        data = file.read(_LARGEST_SIDECAR + 1)
    if len(data) > _LARGEST_SIDECAR:
        raise UserError("its sidecar is too large (16 MB at most); correct or remove it")
    try:
        sidecar = json.loads(data.removeprefix(b"\xef\xbb\xbf"))
    except (ValueError, RecursionError) as error:
        raise UserError(f"its sidecar is not JSON ({error}); correct or remove it") from None
    if not isinstance(sidecar, dict):
        raise UserError("its sidecar is not a JSON object; correct or remove it")
    return sidecar


def read_embedded(path: Path) -> dict[str, Any]:
    """The known fields among the tags inside an audio file; empty if they cannot be read.

    Comments are left out: shops and encoders write them, not listeners.
    """
    from tinytag import TinyTag

    try:
        with path.open("rb") as file:
            modest: Any = _ModestReads(file)
            return normalise(TinyTag.get(path, file_obj=modest, duration=False).as_dict())
    except Exception:  # whatever is wrong with tags, the music may be fine
        return {}


class _ModestReads(io.BufferedIOBase):
    """A file that refuses to read more at once than tags of good faith need."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file

    def read(self, size: int | None = -1, /) -> bytes:
        if size is None or not 0 <= size <= _LARGEST_TAG:
            raise ValueError(f"a tag of {size} bytes")
        return self._file.read(size)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        return self._file.tell()


def read_table(path: Path) -> dict[str, dict[str, Any]]:
    """The rows of a CSV, TSV or JSONL table by file: its relative path, with and without suffix.

    A column `file` (or path, filename, name) says which track a row is about; the other columns
    are normalised. Raises UserError with the line of a row that cannot be used.
    """
    rows: dict[str, dict[str, Any]] = {}
    lines: dict[str, int] = {}
    for line, row in _rows(path):
        name = _file_of(row, f"{path}, line {line}")
        if name in rows:
            raise UserError(f"{path}, line {line}: line {lines[name]} has {name} too; keep one")
        rows[name], lines[name] = normalise(row), line
    n_tracks = Counter(posixpath.splitext(name)[0] for name in rows)
    table: dict[str, dict[str, Any]] = {}
    for name, row in rows.items():
        stem = posixpath.splitext(name)[0]
        for key in {name} | ({stem} if n_tracks[stem] == 1 and stem not in rows else set()):
            for form in ("NFC", "NFD"):  # file systems differ in how they spell é
                table[unicodedata.normalize(form, key)] = row
    return table


def _rows(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of the line and content of each row."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            yield from _json_rows(file, path) if path.suffix in _JSONL else _csv_rows(file, path)
    except OSError as error:
        raise UserError(f"{path}: {error.strerror}; check metadata") from None
    except UnicodeDecodeError:
        raise UserError(f"{path}: is not text in UTF-8; save it as UTF-8") from None


def _json_rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    for line, text in enumerate(file, 1):
        if not text.strip():
            continue
        try:
            row = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise UserError(f"{path}, line {line}: is not JSON ({error}); correct it") from None
        if not isinstance(row, dict):
            raise UserError(f"{path}, line {line}: is not a JSON object; correct it")
        yield line, row


def _csv_rows(file: TextIO, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    header = file.readline()
    file.seek(0)
    delimiter = max(",;\t", key=header.count)  # the first of equals
    reader = csv.DictReader(file, delimiter=delimiter, strict=True)
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(
                    f"{path}, line {reader.line_num}: has not as many columns as the header; "
                    "correct it, or put quotes around text with commas"
                )
            yield reader.line_num, row
    except csv.Error as error:
        raise UserError(f"{path}, after line {reader.line_num}: {error}; correct it") from None


def _file_of(row: Mapping[str, Any], place: str) -> str:
    """The row's file as a library calls it."""
    column = next((name for name in _FILE_COLUMNS if name in row), None)
    if column is None:
        known = ", ".join(_FILE_COLUMNS)
        raise UserError(f"{place}: no column says which file it is ({known}); add one")
    name = row[column]
    if not isinstance(name, str) or not name.strip():
        raise UserError(f"{place}: {column} is empty; name the file")
    name = posixpath.normpath(name.strip().replace("\\", "/"))
    if name.startswith(("/", "../")) or name[1:3] == ":/":
        raise UserError(
            f"{place}: {name} is not relative to input_dir; leave the folders above out"
        )
    return name
