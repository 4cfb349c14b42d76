"""A progress bar with the time left, for anything that takes more than a few seconds."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

_LINE_EVERY = 60.0  # seconds between lines in a log file, where a bar would not show


class Bar:
    """Something that moves; without a terminal it writes a line from time to time."""

    def __init__(self, label: str, total: float, display: Any) -> None:
        self.label = label
        self.total = total
        self._display = display
        self._task = display.add_task(label, total=total, note="")
        self._done = 0.0
        self._began = self._said = time.monotonic()

    @property
    def seconds(self) -> float:
        """Time since it began."""
        return time.monotonic() - self._began

    def advance(self, amount: float = 1, note: str = "") -> None:
        """Move by `amount` of the total, and show the note."""
        self._done += amount
        self._display.update(self._task, advance=amount, note=note)
        now = time.monotonic()
        if not self._display.console.is_terminal and now - self._said > _LINE_EVERY:
            self._said = now
            share = self._done / max(self.total, 1e-9)
            left = (now - self._began) * (1 / max(share, 1e-9) - 1)
            print(
                f"{self.label}: {100 * share:.0f} %, about {left / 60:.0f} min left; {note}",
                file=sys.stderr,
                flush=True,
            )


@contextmanager
def progress_bar(label: str, total: float) -> Iterator[Bar]:
    """A bar on stderr that goes from 0 to `total`, in whatever unit."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        Progress,
        TaskProgressColumn,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(20),
        TaskProgressColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    with Progress(*columns, console=Console(stderr=True)) as display:
        yield Bar(label, total, display)
