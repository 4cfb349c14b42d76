"""A bar with the time left for each stage of a long computation, and what each stage took."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn, TimeRemainingColumn


class Stages:
    """Shows stages one after another, if one process is to; `seconds` holds the time of each."""

    def __init__(self, shown: bool = True) -> None:
        self.seconds: dict[str, float] = {}
        self.console = Console(file=sys.stderr, quiet=not shown)

    @contextmanager
    def stage(self, title: str) -> Iterator[Callable[[float], None]]:
        """Give a function that takes the share done, 0 to 1; without a terminal, print a line."""
        started = time.monotonic()
        columns = (TextColumn("{task.description:<34}"), BarColumn(), TaskProgressColumn())
        live = Progress(
            *columns, TimeRemainingColumn(elapsed_when_finished=True), console=self.console
        )
        if not self.console.is_terminal:
            self.console.print(f"{title} ...", highlight=False)
            yield lambda share: None
        else:
            with live as progress:
                task = progress.add_task(title, total=1.0)
                yield lambda share: progress.update(task, completed=share)
                progress.update(task, completed=1.0)
        self.seconds[title] = time.monotonic() - started
