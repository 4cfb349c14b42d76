"""Two trainings never write into one run directory."""

import fcntl
from pathlib import Path
from typing import IO

import lightning as L

from musicgen_train.errors import UserError


class RunLock(L.Callback):
    """Hold `folder`/.lock while training; UserError if another process holds it.

    The system lets go of it however the process ends, so that none is ever left behind. Where a
    file system has no locks, none is held.
    """

    def __init__(self, folder: Path):
        self.folder = folder
        self._file: IO[str] | None = None

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if not trainer.is_global_zero:
            return
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file = (self.folder / ".lock").open("w")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{self.folder} is being trained by another process: wait for it, or choose "
                "another name=…"
            ) from None
        except OSError:
            return

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
