"""One job at a time on the device: who comes first is served first, and all see the queue."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from musicgen_train.errors import UserError

_LOOK = 0.2  # seconds between two looks at whether a waiting job was cancelled, or has moved up


class Cancelled(Exception):
    """The job's visitor does not want it any more."""


@dataclass(frozen=True)
class QueuedJob:
    """A line of the visible queue. Its title is seen by every visitor."""

    title: str
    state: Literal["running", "waiting"]
    seconds: float  # that it has run, or waited


class _Place:
    """A job's place in the queue; each is its own, whatever its title."""

    def __init__(self, title: str) -> None:
        self.title = title
        self.since = time.monotonic()


class DeviceQueue:
    """Jobs that need the device; safe to use from any thread.

    limit: jobs that may be here at once, the running one included.
    """

    def __init__(self, limit: int = 32) -> None:
        assert limit >= 1, limit
        self.limit = limit
        self._places: list[_Place] = []  # the first one runs
        self._moved = threading.Condition()

    @contextmanager
    def turn(
        self, title: str, cancelled: threading.Event, on_wait: Callable[[int], None]
    ) -> Iterator[None]:
        """Wait for this job's turn, and keep it for the block.

        on_wait: told how many jobs are before this one, when that changes, at most 5 times a
        second. Raises `Cancelled` when the event is set while it waits; a full queue is a
        `UserError`.
        """
        place = self._enter(title)
        try:
            self._wait(place, cancelled, on_wait)
            yield
        finally:
            self._leave(place)

    def jobs(self) -> list[QueuedJob]:
        """The running job, then those that wait, in their order."""
        now = time.monotonic()
        with self._moved:
            return [
                QueuedJob(place.title, "waiting" if i else "running", now - place.since)
                for i, place in enumerate(self._places)
            ]

    def _enter(self, title: str) -> _Place:
        with self._moved:
            if len(self._places) >= self.limit:
                raise UserError(f"{len(self._places)} jobs are waiting: try again later")
            place = _Place(title)
            self._places.append(place)
            return place

    def _wait(
        self, place: _Place, cancelled: threading.Event, on_wait: Callable[[int], None]
    ) -> None:
        told = 0
        while True:
            with self._moved:
                self._moved.wait_for(lambda: self._places[0] is place, timeout=_LOOK * (told > 0))
                before = self._places.index(place)
            if cancelled.is_set():
                raise Cancelled
            if not before:
                return
            if before != told:
                on_wait(before)
                told = before

    def _leave(self, place: _Place) -> None:
        with self._moved:
            was_first = self._places[0] is place
            self._places.remove(place)
            if was_first and self._places:
                self._places[0].since = time.monotonic()  # from now on it runs
            self._moved.notify_all()
