"""A call that is made again and again in a process of its own, as its users make it."""

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from typing import Any

from benchmarks.memory import peak_mib

_made: Callable[[], Any] | None = None  # in the other process


class OtherProcess:
    """Calls what `make(*arguments)` returns, in another process; nothing comes back.

    What a process sets for itself, its allocator and its peak of memory, is then its own.
    """

    def __init__(self, make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
        spawn = multiprocessing.get_context("spawn")
        self.pool = ProcessPoolExecutor(1, mp_context=spawn)
        try:
            self.pool.submit(_make, make, *arguments).result()
        except BaseException:
            self.close()
            raise

    def __call__(self) -> None:
        self.pool.submit(_call).result()

    def peak_mib(self) -> float:
        """The most memory that the process has had."""
        return self.pool.submit(peak_mib).result()

    def close(self) -> None:
        """End the process."""
        self.pool.shutdown()


def _make(make: Callable[..., Callable[[], Any]], *arguments: Any) -> None:
    global _made
    _made = make(*arguments)


def _call() -> None:
    assert _made is not None, "made by __init__"
    _made()
