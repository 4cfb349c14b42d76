"""Run one function over many jobs in worker processes, and outlive the workers.

A worker that dies (out of memory, a crash inside a decoder) is replaced, and its job tried again;
a job that kills its worker every time is given up alone. Each worker has a pipe of its own: no
lock is shared, so no death can block the others.
"""

import multiprocessing
import os
import signal
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection, wait
from typing import Any, TypeVar

Job = TypeVar("Job")
Result = TypeVar("Result")
TRIES = 3


class WorkerDied(Exception):
    """The job took its worker process down every time it was tried."""

    def __init__(self) -> None:
        super().__init__(f"its worker process died ({TRIES} times; out of memory, or a crash)")


def run_in_processes(
    function: Callable[[Job], Result], jobs: Iterable[Job], num_workers: int, device: str = "cpu"
) -> Iterator[tuple[Job, Result | WorkerDied]]:
    """Yield (job, result) as they finish; with `num_workers=0` in this process, in order.

    With device "cuda" the workers share out the GPUs.
    """
    if num_workers == 0:
        for job in jobs:
            yield job, function(job)
        return
    # Forking a process with threads may hang, and a fork server's socket survives a kill.
    context = multiprocessing.get_context("spawn")
    remaining = iter(jobs)
    workers = [_Worker(context, function, number, device) for number in range(num_workers)]
    try:
        busy = [worker for worker in workers if worker.take_next(remaining)]
        while busy:
            ready = wait([worker.connection for worker in busy])
            for worker in [worker for worker in busy if worker.connection in ready]:
                if (done := worker.finish()) is not None:
                    yield done
                    if not worker.take_next(remaining):
                        busy.remove(worker)
    finally:
        for worker in workers:
            worker.stop()


@contextmanager
def one_thread(wanted: bool = True) -> Iterator[None]:
    """Compute in one thread, as workers do, since another number of them rounds otherwise."""
    import torch

    before = torch.get_num_threads()
    if wanted:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


class _Worker:
    """One process, which may be replaced, and the job it is at."""

    def __init__(self, context: Any, function: Callable, number: int, device: str) -> None:
        self._start = lambda pipe: context.Process(
            target=_serve, args=(pipe, function, number, device), daemon=True
        )
        self._pipe = context.Pipe
        self._job: Any = None
        self._tries = 0
        self._spawn()

    def take_next(self, jobs: Iterator[Any]) -> bool:
        """Begin the next job, if there is one."""
        for self._job in jobs:
            self._tries = 1
            self._send()
            return True
        return False

    def finish(self) -> tuple[Any, Any] | None:
        """The job and its result; None if the process died and the job was begun again."""
        try:
            result = self.connection.recv()
        except (EOFError, OSError):
            self.stop()
            self._spawn()
            if self._tries == TRIES:
                return self._job, WorkerDied()
            self._tries += 1
            self._send()
            return None
        if isinstance(result, Exception):
            raise result
        return self._job, result

    def stop(self) -> None:
        self.connection.close()
        self._process.kill()
        self._process.join()

    def _spawn(self) -> None:
        self.connection, theirs = self._pipe()
        self._process = self._start(theirs)
        with _ignoring_interrupts():  # the parent stops its workers
            self._process.start()
        theirs.close()

    def _send(self) -> None:
        with suppress(OSError):  # it died while idle: `finish` sees the closed pipe
            self.connection.send(self._job)


def _serve(connection: Connection, function: Callable, number: int, device: str) -> None:
    """Answer jobs until the pipe closes, or the parent is gone."""
    import torch

    threading.Thread(target=_follow_parent, daemon=True).start()
    torch.set_num_threads(1)
    if device == "cuda":
        _choose_gpu(number)
    while True:
        try:
            job = connection.recv()
        except EOFError:
            return
        try:
            result = function(job)
        except Exception as error:
            result = error
        connection.send(result)


@contextmanager
def _ignoring_interrupts() -> Iterator[None]:
    """Children that are started here inherit it, from their first moment on."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)


def _follow_parent() -> None:
    parent = multiprocessing.parent_process()
    assert parent is not None
    wait([parent.sentinel])
    os._exit(1)


def _choose_gpu(number: int) -> None:
    """Give this process one of the visible GPUs, before CUDA starts."""
    import torch

    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    names = visible.split(",") if visible else [str(i) for i in range(torch.cuda.device_count())]
    os.environ["CUDA_VISIBLE_DEVICES"] = names[number % len(names)] if names else ""
