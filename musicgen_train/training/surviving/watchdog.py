"""A run that hangs says where, on every rank, and ends."""

import faulthandler
import os
import signal
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch.distributed.distributed_c10d import _get_default_store

from musicgen_train.errors import UserError

GRACE = 10.0  # seconds in which the ranks tell each other where they are


class Watchdog(L.Callback):
    """End the process with status 1 when nothing of the training has moved for `timeout` seconds.

    First each rank writes the stacks of its threads to stderr and to hang-rankN.txt in `folder`,
    and which ranks are behind. The timeout has to exceed the longest thing that moves nothing (a
    compilation, the samples, a checkpoint), and to be below the time that the ranks wait for each
    other (trainer.strategy.timeout), after which they only know that somebody is missing.

    A thread watches; a call that never gives Python's lock back stops that thread as well, and is
    left to faulthandler, which needs none. Time in which the process is stopped (Ctrl-Z) counts.
    """

    def __init__(self, folder: str, timeout: float = 1500.0):
        if timeout <= 0:
            raise UserError(f"callbacks.watchdog.timeout is {timeout:g}: use more than 0 seconds")
        self.folder = Path(folder)
        self.timeout = timeout
        self._moved: tuple[float, int, int, str] = (0.0, 0, 0, "")  # when, count, step, what
        self._over = threading.Event()
        self._thread: threading.Thread | None = None

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        if stage != "fit":
            return
        self._move(trainer, "the start")
        self._over.clear()
        self._thread = threading.Thread(target=self._watch, args=(trainer,), daemon=True)
        self._thread.start()

    def teardown(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        self._stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        self._stop()

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._move(trainer, "the first batch")

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._move(trainer, "the loss")

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: torch.Tensor
    ) -> None:
        self._move(trainer, "the gradient")

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Any
    ) -> None:
        self._move(trainer, "the optimizer")

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        self._move(trainer, "logs, samples or the next batch")

    def on_validation_batch_start(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        batch: Any,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        self._move(trainer, f"validation, batch {batch_idx}")

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._move(trainer, "the end of a validation")

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        self._move(trainer, "a checkpoint and what follows")

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._move(trainer, "the end")

    def _move(self, trainer: L.Trainer, what: str) -> None:
        self._moved = (time.monotonic(), self._moved[1] + 1, trainer.global_step + 1, what)

    def _stop(self) -> None:
        self._over.set()
        if self._thread is not None:
            self._thread.join()
            self._thread = None

    def _watch(self, trainer: L.Trainer) -> None:
        period = min(self.timeout / 10, 5.0)
        try:
            while True:
                # Whenever this thread runs, the lock is not held for good.
                faulthandler.dump_traceback_later(self.timeout + 2 * GRACE, exit=True, file=2)
                if self._over.wait(period):
                    return
                if time.monotonic() - self._moved[0] > self.timeout:
                    self._end(trainer)
        finally:
            faulthandler.cancel_dump_traceback_later()

    def _end(self, trainer: L.Trainer) -> None:
        """Tell where this rank is, and end; what may hang itself is done in threads of its own."""
        since, _, step, what = self._moved
        line = (
            f"rank {trainer.global_rank} of {trainer.world_size} has not finished step {step} "
            f"({what}) for {time.monotonic() - since:.0f} s; its stack:\n"
        )
        os.write(2, line.encode())
        faulthandler.dump_traceback(file=2)
        threads = [threading.Thread(target=self._save, args=(trainer, line), daemon=True)]
        if trainer.world_size > 1:
            threads.append(threading.Thread(target=self._compare, args=(trainer,), daemon=True))
        for thread in threads:
            thread.start()
        until = time.monotonic() + GRACE
        for thread in threads:
            thread.join(max(0.0, until - time.monotonic()))
        launcher = trainer.strategy.launcher
        if launcher is not None:
            launcher.kill(
                signal.SIGKILL
            )  # ranks that Lightning has started, and that do not answer
        os._exit(1)

    def _save(self, trainer: L.Trainer, line: str) -> None:
        self.folder.mkdir(parents=True, exist_ok=True)
        with (self.folder / f"hang-rank{trainer.global_rank}.txt").open("w") as file:
            file.write(line)
            file.flush()
            faulthandler.dump_traceback(file=file)

    def _compare(self, trainer: L.Trainer) -> None:
        """Name the ranks that are behind, or do not answer; all tell where they are."""
        store = _get_default_store()
        _, count, step, what = self._moved
        store.set(_key(trainer.global_rank), f"{count}/step {step} ({what})")
        places: dict[int, tuple[int, str]] = {}
        until = time.monotonic() + 0.8 * GRACE
        for rank in range(trainer.world_size):
            left = timedelta(seconds=max(0.1, until - time.monotonic()))
            try:
                store.wait([_key(rank)], left)
                number, place = store.get(_key(rank)).decode().split("/", 1)
                places[rank] = (int(number), place)
            except RuntimeError:
                continue
        os.write(2, f"{verdict(places, trainer.world_size)}\n".encode())
        if trainer.global_rank == 0:
            time.sleep(0.1 * GRACE)  # the others read from its store


def verdict(places: dict[int, tuple[int, str]], n_ranks: int) -> str:
    """Which ranks keep the others waiting: rank -> (how often it has moved, where it is)."""
    silent = [str(rank) for rank in range(n_ranks) if rank not in places]
    furthest = max(count for count, _ in places.values())
    behind = [f"{r}, at {place}" for r, (count, place) in places.items() if count < furthest]
    if silent:
        return f"no answer from rank {', '.join(silent)}: look there first"
    if behind:
        return f"behind the others is rank {'; '.join(behind)}: look there first"
    return "all ranks are at the same place: look for the one that is not in a collective"


def _key(rank: int) -> str:
    return f"musicgen_train/hang/{rank}"
