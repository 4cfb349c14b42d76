"""Which files are not in a dataset, and why: failures.jsonl."""

import json
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from musicgen_train.data.storage import is_remote, read_whole
from musicgen_train.errors import UserError

_DUPLICATES = ("is a duplicate", "is a near-duplicate")
_N_EXAMPLES = 3
_N_DUPLICATES = 30


class Failures:
    """Files left out, by the phrase that their reasons begin with."""

    def __init__(self) -> None:
        self.recorded = True  # whether the dataset says anything about them
        self.n_damaged = 0  # lines that could not be read
        self.phrases: Counter[str] = Counter()
        self.examples: dict[str, list[tuple[str, str]]] = {}  # phrase -> (file, details)
        self.duplicates: list[tuple[str, str]] = []  # the first of them: (file, of which)

    def add(self, entry: Any) -> None:
        """Count one line of failures.jsonl."""
        if not isinstance(entry, dict) or not isinstance(entry.get("reason"), str):
            self.n_damaged += 1
            return
        # Preparing leaves out files, tokenising segments.
        file = str(entry.get("file") or entry.get("sample") or "?")
        phrase, _, details = entry["reason"].partition(" (")
        if details:
            details = details.removesuffix(")")
        else:
            phrase, _, details = phrase.partition(": ")
        self.phrases[phrase] += 1
        if phrase in _DUPLICATES and len(self.duplicates) < _N_DUPLICATES:
            self.duplicates.append((file, details.removeprefix("of ")))
        examples = self.examples.setdefault(phrase, [])
        if len(examples) < _N_EXAMPLES:
            examples.append((file, details))

    @property
    def n_duplicates(self) -> int:
        return sum(self.phrases[phrase] for phrase in _DUPLICATES)


def read_failures(folder: Path | str) -> Failures:
    """Read the failures.jsonl of a dataset, line by line; the file may be absent."""
    failures = Failures()
    try:
        for line in _lines(folder):
            try:
                entry = json.loads(line)
            except (ValueError, RecursionError):
                entry = None
            failures.add(entry)
    except (UserError, OSError):
        failures.recorded = False
    return failures


def _lines(folder: Path | str) -> Iterable[bytes]:
    if is_remote(folder):
        return read_whole(folder, "failures.jsonl").splitlines()
    return _local_lines(Path(folder) / "failures.jsonl")


def _local_lines(path: Path) -> Iterator[bytes]:
    with path.open("rb") as file:
        yield from file
