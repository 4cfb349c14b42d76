"""The ratings on disk: one JSON object a line, appended for good, read with what a kill left."""

from __future__ import annotations

import fcntl
import json
import math
import os
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import NamedTuple

from musicgen_train.errors import UserError
from musicgen_train.evaluation.listening_test.questions import HIGHEST, LOWEST, QUESTIONS

VERSION = 1  # of the rows


@dataclass(frozen=True)
class Rating:
    """One answer: what a listener gave a system's clip of a prompt for one question."""

    listener: str
    trial: int  # from 1, in the listener's order
    repeat: int  # 1 where the listener had the prompt before
    name: str
    system: str
    question: str
    rating: int
    position: int  # 1 was shown as A
    seconds: float  # on the page of the trial
    heard: float  # seconds of the clip that were played
    time: str  # UTC, when it was sent
    loudness: float | None  # LUFS of the clip as it was played
    clip: str  # start of the SHA-256 of what was played
    seed: int
    version: int = VERSION

    @property
    def key(self) -> tuple[str, str, int, str, str]:
        """What can be rated once; if it is there again, the later one counts."""
        return self.listener, self.name, self.repeat, self.system, self.question


class Read(NamedTuple):
    """The ratings of a file, and the lines that are none."""

    ratings: list[Rating]
    faults: list[str]  # one line each


class RatingsFile:
    """A JSONL file that several threads and several servers may append to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()

    def prepare(self) -> None:
        """Make the file if it is not there; UserError if it cannot be written."""
        if self.path.exists() and not self.path.is_file():
            raise UserError(f"--ratings {self.path}: is no file; name a .jsonl file")
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self._open():
                pass
        except OSError as error:
            raise UserError(
                f"--ratings {self.path}: cannot be written ({error.strerror}); name another file"
            ) from None

    def append(self, ratings: Sequence[Rating]) -> None:
        """Write the rows of one trial so that they outlive a power cut, or none of them (OSError).

        A half-written line of an earlier kill is ended first, so that it spoils no other.
        """
        lines = "".join(json.dumps(asdict(row)) + "\n" for row in ratings)
        with self._lock, self._open() as descriptor:
            size = os.fstat(descriptor).st_size
            ended = size == 0 or os.pread(descriptor, 1, size - 1) == b"\n"
            data = ("" if ended else "\n").encode() + lines.encode()
            try:
                while data:
                    data = data[os.write(descriptor, data) :]
                os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, size)
                raise

    def read(self) -> Read:
        """Every rating, once; lines that are none are told, not dropped quietly."""
        try:
            written = self.path.read_bytes()
        except FileNotFoundError:
            return Read([], [])
        except OSError as error:
            raise UserError(f"{self.path}: cannot be read ({error.strerror}); mend that") from None
        ratings: dict[tuple, Rating] = {}
        faults = []
        lines = written.split(b"\n")
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            try:
                row = parse_rating(line)
            except ValueError as error:
                half = number == len(lines)
                reason = "half-written, as after a kill" if half else str(error)
                faults.append(f"{self.path}, line {number}: {reason}; left out")
                continue
            ratings.pop(row.key, None)
            ratings[row.key] = row
        return Read(list(ratings.values()), faults)

    @contextmanager
    def _open(self) -> Iterator[int]:
        """Give a descriptor that appends, locked against other processes."""
        new = not self.path.exists()
        descriptor = os.open(self.path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            if new:
                _sync_folder(self.path.parent)
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield descriptor
        finally:
            os.close(descriptor)


def parse_rating(line: bytes) -> Rating:
    """One line of the file; ValueError says in a few words why it is no rating."""
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise ValueError("is no JSON") from None
    if not isinstance(row, dict) or row.get("version") != VERSION:
        raise ValueError(f"is no row of version {VERSION}")
    missing = [field.name for field in fields(Rating) if field.name not in row]
    if missing:
        raise ValueError(f"has no {', '.join(missing)}")
    row = {field.name: row[field.name] for field in fields(Rating)}
    for name, kind in _KINDS.items():
        if not isinstance(row[name], kind) or isinstance(row[name], bool):
            raise ValueError(f"{name} is {str(row[name])[:40]!r}")
    rating = Rating(**row)
    if not LOWEST <= rating.rating <= HIGHEST or rating.question not in QUESTIONS:
        raise ValueError(f"rates {rating.question!r} {rating.rating}")
    if not all(math.isfinite(value) for value in (rating.seconds, rating.heard)):
        raise ValueError("has seconds that are no numbers")
    return rating


def done_trials(
    ratings: Iterable[Rating], listener: str, systems: Sequence[str], questions: Sequence[str]
) -> set[tuple[str, int]]:
    """The (name, repeat) of which a listener has answered everything that is asked."""
    answers: dict[tuple[str, int], set[tuple[str, str]]] = {}
    for row in ratings:
        if row.listener == listener:
            answers.setdefault((row.name, row.repeat), set()).add((row.system, row.question))
    wanted = {(system, question) for system in systems for question in questions}
    return {visit for visit, given in answers.items() if wanted <= given}


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


_KINDS = {
    **dict.fromkeys(("listener", "name", "system", "question", "time", "clip"), str),
    **dict.fromkeys(("trial", "repeat", "rating", "position", "seed"), int),
    **dict.fromkeys(("seconds", "heard"), (int, float)),
    "loudness": (int, float, type(None)),
}
