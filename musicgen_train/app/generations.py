"""The jobs of all visitors: found again after a reload, bounded, and ended with the server."""

import threading
import time

from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.generating import Generation
from musicgen_train.app.models import ModelShelf
from musicgen_train.app.request import Limits, Request
from musicgen_train.app.takes import TakeStore
from musicgen_train.errors import UserError

_REMEMBERED = 600.0  # seconds after its end in which a job can still be followed
_MOST_ENDED = 200  # jobs that are remembered at all


class Generations:
    """Jobs by their visitors, each seen by its own visitor alone; safe to use from any thread."""

    def __init__(
        self, shelf: ModelShelf, queue: DeviceQueue, store: TakeStore, limits: Limits
    ) -> None:
        self._parts = (shelf, queue, store, limits)
        self._limits = limits
        self._lock = threading.Lock()
        self._jobs: dict[str, Generation] = {}  # by id, the oldest first

    def start(self, visitor: str, request: Request) -> Generation:
        """Check and begin a request; `UserError` if it cannot work, or the visitor has too many."""
        job = Generation(request, *self._parts, visitor)
        with self._lock:
            self._forget()
            own = [job for job in self._jobs.values() if job.visitor == visitor and not job.ended]
            if len(own) >= self._limits.max_jobs:
                raise UserError(f"{len(own)} of your jobs are not done: wait for one, or stop it")
            self._jobs[job.id] = job
        try:
            return job.start()
        except BaseException:
            with self._lock:
                self._jobs.pop(job.id, None)
            raise

    def of(self, visitor: str) -> list[Generation]:
        """A visitor's jobs, the newest first: to follow again after a reload."""
        with self._lock:
            self._forget()
            return [job for job in reversed(self._jobs.values()) if job.visitor == visitor]

    def close(self, timeout: float = 10.0) -> None:
        """Stop all, and wait some seconds for them to end."""
        with self._lock:
            jobs = list(self._jobs.values())
        for job in jobs:
            job.cancel()
        until = time.monotonic() + timeout
        for job in jobs:
            job.wait(max(0.0, until - time.monotonic()))

    def _forget(self) -> None:
        """Drop those that ended long ago, and the oldest beyond the number that is kept."""
        now = time.monotonic()
        ended = [job for job in self._jobs.values() if job.ended]
        for i, job in enumerate(reversed(ended)):
            if i >= _MOST_ENDED or now - (job.ended_at or now) > _REMEMBERED:
                del self._jobs[job.id]
