"""Run one function over many items in processes, results in the items' order."""

import multiprocessing
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import TypeVar

from musicgen_train.errors import UserError

Item = TypeVar("Item")
Result = TypeVar("Result")
_AHEAD = 4  # tasks queued per worker: enough to keep it busy, few enough to bound memory


def map_in_order(
    function: Callable[[Item], Result], items: Sequence[Item], num_workers: int
) -> Iterator[Result]:
    """Yield function(item) for each item, in order; `num_workers=0` runs in this process."""
    if num_workers == 0 or len(items) <= 1:
        yield from map(function, items)
        return
    context = multiprocessing.get_context("forkserver")  # forking a process with threads may hang
    context.set_forkserver_preload(["torch", "soundfile", function_module(function)])
    pool = ProcessPoolExecutor(num_workers, mp_context=context, initializer=_single_thread)
    try:
        with pool:
            yield from _windowed(pool, function, items, num_workers * _AHEAD)
    except BrokenProcessPool:
        raise UserError(
            "a worker process died, most likely out of memory; use fewer workers (num_workers)"
        ) from None


def _windowed(
    pool: ProcessPoolExecutor, function: Callable[[Item], Result], items: Sequence[Item], ahead: int
) -> Iterator[Result]:
    pending: list[Future[Result]] = []
    for item in items:
        pending.append(pool.submit(function, item))
        if len(pending) >= ahead:
            yield pending.pop(0).result()
    for future in pending:
        yield future.result()


def function_module(function: Callable) -> str:
    return getattr(function, "func", function).__module__


def _single_thread() -> None:
    import torch

    torch.set_num_threads(1)
