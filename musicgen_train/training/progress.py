"""Progress of a training run, counted in optimizer steps."""

import sys
import time
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class StepProgress(L.Callback):
    """A bar with steps/s, ETA and the newest metrics; plain lines when not on a terminal.

    Lightning's own bar counts the batches of a loader, and ours never ends.
    """

    def __init__(self, every_seconds: float = 15.0):
        self.every_seconds = every_seconds
        self.console = Console(file=sys.stderr)
        self.bar: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.started = self.last_line = time.monotonic()
        self.first_step = trainer.global_step
        if self.console.is_terminal and trainer.is_global_zero:
            bar = Progress(
                TextColumn("training"),
                BarColumn(),
                TextColumn("{task.completed:.0f}/{task.total:.0f} {task.fields[metrics]}"),
                TimeRemainingColumn(compact=True),
                console=self.console,
                transient=True,
            )
            self.task: TaskID = bar.add_task(
                "", total=trainer.max_steps, completed=trainer.global_step, metrics=""
            )
            bar.start()
            self.bar = bar

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if not trainer.is_global_zero:
            return
        now = time.monotonic()
        metrics = _summary(trainer)
        if self.bar:
            self.bar.update(self.task, completed=trainer.global_step, metrics=metrics)
        elif now - self.last_line >= self.every_seconds:
            self.last_line = now
            rate = (trainer.global_step - self.first_step) / (now - self.started)
            left = (trainer.max_steps - trainer.global_step) / max(rate, 1e-9)
            self.console.print(
                f"step {trainer.global_step}/{trainer.max_steps}  {rate:.2f} steps/s  "
                f"ETA {int(left) // 60}:{int(left) % 60:02d}  {metrics}",
                highlight=False,
                soft_wrap=True,
            )

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.bar:
            self.bar.stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if self.bar:
            self.bar.stop()


def _summary(trainer: L.Trainer) -> str:
    """The newest losses: `train/ce 4.12  valid/ce 4.30`."""
    kept = {
        name: float(value)
        for name, value in trainer.callback_metrics.items()
        if name.split("/")[-1] in ("ce", "l1", "msspec", "si_sdr")
    }
    return "  ".join(f"{name} {value:.3f}" for name, value in kept.items())
