"""A run of several ranks that loses one ends in one line that says so, and no rank lingers."""

import os
import re
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import lightning as L
import torch

from musicgen_train.errors import UserError, reason_of

PERIOD = 0.5  # seconds between two looks at the processes next to this one
PATIENCE = 3.0  # seconds in which the training may end by itself, once a rank is lost

# How gloo and NCCL say it, within a RuntimeError.
_LOST = re.compile(
    r"connection (closed|reset|refused|timed out)|timed? ?out|broken pipe|socket closed"
    r"|remote process exited|no route to host|network is unreachable",
    re.IGNORECASE,
)
_BY_TORCH = re.compile(r"gloo|nccl|process ?group|store|socket|rendezvous", re.IGNORECASE)
_STARTER = "MUSICGEN_TRAIN_STARTER"  # the process that Lightning starts further ranks from


@contextmanager
def lost_rank_is_told(trainer: L.Trainer) -> Iterator[None]:
    """Whatever meets the end of another rank first, in any collective, tells it in one line.

    No collective may meet it: NCCL's wait for minutes, and ranks whose torchrun was killed train
    on, beside the run that goes on from their checkpoint. So a thread looks at the processes that
    this one was started by, or has started.
    """
    neighbours = _Neighbours(trainer)
    neighbours.start()
    try:
        yield
    except RuntimeError as error:
        if not is_lost_rank(error):
            raise
        neighbours.over.set()
        if neighbours.told:
            raise SystemExit(1) from None
        reason = re.sub(r"^\[[^]]*\] *", "", reason_of(error)).split(". ")[0]
        if not torch.distributed.is_initialized():
            raise UserError(
                f"rank {trainer.global_rank}: the ranks do not find each other ({reason}): check "
                "MASTER_ADDR and MASTER_PORT, and that all are started"
            ) from None
        raise UserError(_line(trainer, f"another rank is gone ({reason})")) from None
    finally:
        neighbours.over.set()
        os.environ.pop(_STARTER, None)


class _Neighbours(threading.Thread):
    """Ends this process, with a line, after its launcher or a rank that it has launched."""

    def __init__(self, trainer: L.Trainer) -> None:
        super().__init__(daemon=True)
        self.trainer = trainer
        self.over = threading.Event()
        self.told = False
        self.launcher = _launcher()
        self.parent = os.getppid()
        os.environ[_STARTER] = str(os.getpid())

    def run(self) -> None:
        while not self.over.wait(PERIOD):
            # A rank that is at its end needs no launcher.
            if self.launcher and os.getppid() != self.parent and not self.over.wait(PATIENCE):
                self._end(f"{self.launcher}, which started it, is gone", patience=0.0)
            for local_rank, process in enumerate(self._launched(), 1):
                code = process.poll()
                if code:
                    rank = self.trainer.global_rank + local_rank
                    how = signal.Signals(-code).name if code < 0 else f"status {code}"
                    # At once: Lightning's own observer kills this process within 5 s.
                    self._end(f"another rank is gone (rank {rank}: {how})", PATIENCE)

    def _end(self, what: str, patience: float) -> None:
        self.told = True
        os.write(2, f"error: {_line(self.trainer, what)}\n".encode())
        self.over.wait(patience)
        for process in self._launched():
            process.kill()
        os._exit(1)

    def _launched(self) -> list[Any]:
        return getattr(self.trainer.strategy.launcher, "procs", [])


def _launcher() -> str | None:
    """What has started this process as a rank; None: nothing, as a shell, which may be closed."""
    if torch.distributed.is_torchelastic_launched():
        return "torchrun"
    return "rank 0" if os.environ.get(_STARTER) == str(os.getppid()) else None


def _line(trainer: L.Trainer, what: str) -> str:
    return f"rank {trainer.global_rank}: {what}; resume=auto goes on from the last checkpoint"


def is_lost_rank(error: RuntimeError) -> bool:
    """Whether an error is that of a connection between ranks."""
    network = (torch.distributed.DistNetworkError, torch.distributed.DistStoreError)
    if isinstance(error, network):
        return True
    text = str(error)
    return bool(_LOST.search(text) and _BY_TORCH.search(text))
