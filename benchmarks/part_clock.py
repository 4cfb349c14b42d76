"""The time of the parts of a computation, taken where their functions are called."""

import time
from collections.abc import Callable
from typing import Any


class PartClock:
    """Adds up the time of named parts, of which one may run within another: that one's waits.

    On a CPU by the clock. On a GPU by events in its stream, so that a part has the time from its
    first kernel's turn to its last one's end, waiting for Python to launch them included.
    """

    def __init__(self, device: str) -> None:
        self.cuda = device == "cuda"
        self.spans: list[tuple[str, Any, Any]] = []
        self.running: list[tuple[str, Any]] = []
        self.undo: list[Callable[[], None]] = []

    def watch(self, owner: Any, attribute: str, part: str) -> None:
        """Time every call of a function that an object or a module holds, until `release`."""
        function, own = getattr(owner, attribute), attribute in vars(owner)

        def timed(*args: Any, **kwargs: Any) -> Any:
            self.enter(part)
            try:
                return function(*args, **kwargs)
            finally:
                self.leave()

        setattr(owner, attribute, timed)
        restore = (lambda: setattr(owner, attribute, function)) if own else None
        self.undo.append(restore or (lambda: delattr(owner, attribute)))

    def release(self) -> None:
        """Put all functions back."""
        while self.undo:
            self.undo.pop()()

    def enter(self, part: str) -> None:
        """A part begins; the one around it waits."""
        now = self._now()
        if self.running:
            self._note(now)
        self.running.append((part, now))

    def leave(self) -> None:
        """The innermost part ends."""
        now = self._now()
        self._note(now)
        self.running.pop()
        if self.running:
            self.running[-1] = self.running[-1][0], now

    def seconds(self) -> dict[str, float]:
        """Of each part so far; the GPU must be done."""
        total: dict[str, float] = {}
        for part, began, ended in self.spans:
            spent = began.elapsed_time(ended) / 1000 if self.cuda else ended - began
            total[part] = total.get(part, 0.0) + spent
        return total

    def _note(self, now: Any) -> None:
        part, began = self.running[-1]
        self.spans.append((part, began, now))

    def _now(self) -> Any:
        if not self.cuda:
            return time.perf_counter()
        import torch

        event = torch.cuda.Event(enable_timing=True)
        event.record()
        return event
