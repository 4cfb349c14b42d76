"""A progress bar with the time that is left, for whoever waits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def reporting(
    callback: Callable[[int, int], None] | None, bar: bool, label: str = "generating"
) -> Iterator[Callable[[int, int], None]]:
    """Give a function of (done, total) that feeds the callback and, if wanted, a bar on stderr."""
    if not bar:
        yield callback or (lambda done, total: None)
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    columns = (TextColumn(label), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True)) as display:
        task = display.add_task(label, total=None)

        def report(done: int, total: int) -> None:
            display.update(task, completed=done, total=total)
            if callback is not None:
                callback(done, total)

        yield report


def telling(*callbacks: Callable[[int, int], None] | None) -> Callable[[int, int], None]:
    """One function of (done, total) that feeds all the callbacks there are."""

    def tell(done: int, total: int) -> None:
        for callback in callbacks:
            if callback is not None:
                callback(done, total)

    return tell
