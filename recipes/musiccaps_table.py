"""The table of MusicCaps, musiccaps-public.csv: which ten seconds of which video have which text.

Its columns (Agostinelli et al. 2023, as published): ytid, start_s, end_s, audioset_positive_labels,
aspect_list, caption, author_id, is_balanced_subset (1,000 clips), is_audioset_eval (2,858 clips).
"""

from __future__ import annotations

import csv
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

from musicgen_train.errors import UserError

SUBSETS = {"all": None, "balanced": "is_balanced_subset", "eval": "is_audioset_eval"}
COLUMNS = ("ytid", "start_s", "end_s", "caption")
LETTERS = 11  # of an id
YOUTUBE_ID = re.compile(rf"[A-Za-z0-9_-]{{{LETTERS}}}")


class Row(NamedTuple):
    """A line of the CSV that tells of a clip."""

    ytid: str
    start: float  # seconds
    end: float
    caption: str

    @property
    def name(self) -> str:
        """Of the clip; an id may have several."""
        return f"{self.ytid}_{self.start:g}"


class Table(NamedTuple):
    """The rows of a subset, and those that tell of no clip, with their reasons."""

    rows: list[Row]
    bad: dict[str, str]  # "line 7" -> reason
    n_rows: int


def read_table(path: Path, subset: str) -> Table:
    """The rows of a subset; UserError for a file that is not MusicCaps' table."""
    column = SUBSETS[subset]
    rows, bad, n_rows = dict[str, Row](), dict[str, str](), 0
    for line, fields in read_csv(path, [*COLUMNS, *([column] if column else [])]):
        if column and fields[column].strip().lower() not in ("true", "1"):
            continue
        n_rows += 1
        row = parsed(fields)
        if isinstance(row, Row) and row.name in rows:
            row = "the clip of another row"
        if isinstance(row, Row):
            rows[row.name] = row
        else:
            bad[f"line {line}"] = row
    if not n_rows:
        raise UserError(f"{path}: has no row of subset={subset}; get musiccaps-public.csv again")
    return Table(list(rows.values()), bad, n_rows)


def read_csv(path: Path, columns: Sequence[str]) -> Iterator[tuple[int, dict[str, str]]]:
    """The number and the fields of each line."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = csv.DictReader(file, strict=True)
            there = list(lines.fieldnames or [])
            if absent := [name for name in columns if name not in there]:
                raise UserError(
                    f"{path}, line 1: lacks {', '.join(absent)} (it has {', '.join(there)[:100]}); "
                    "give MusicCaps' table, musiccaps-public.csv"
                )
            for fields in lines:
                yield lines.line_num, {name: fields.get(name) or "" for name in columns}
    except FileNotFoundError:
        raise UserError(f"{path}: no such table; get musiccaps-public.csv") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror}); mend that") from None
    except (UnicodeDecodeError, csv.Error) as error:
        raise UserError(f"{path}: is no CSV in UTF-8 ({error}); get it again") from None


def parsed(fields: Mapping[str, str]) -> Row | str:
    """A row, or why it tells of no clip."""
    ytid, caption = fields["ytid"].strip(), " ".join(fields["caption"].split())
    if not YOUTUBE_ID.fullmatch(ytid):
        return f"{ytid[:40]!r} is no YouTube id"
    if not caption:
        return f"{ytid}: no caption"
    said = f"{fields['start_s']!s:.20} to {fields['end_s']!s:.20}"
    try:
        start, end = float(fields["start_s"]), float(fields["end_s"])
    except ValueError:
        return f"{ytid}: no time range ({said})"
    if not (0 <= start < end and math.isfinite(end)):
        return f"{ytid}: no time range ({said})"
    return Row(ytid, start, end, caption)
