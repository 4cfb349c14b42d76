"""Progress of a training run, counted in optimizer steps."""

import math
import sys
import time
from typing import Any

import lightning as L
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskID, TextColumn

from musicgen_train.training.monitoring.step_clock import clock_of

LOSSES = ("ce", "l1", "msspec", "si_sdr")


class StepProgress(L.Callback):
    """A bar with speed, time left and the newest losses; plain lines when not on a terminal.

    Lightning's own bar counts the batches of a loader, and ours never ends. The time left is from
    the speed of the last steps, and from how long the last validation and samples took.
    """

    def __init__(self, every_seconds: float = 15.0):
        self.every_seconds = every_seconds
        self.console = Console(file=sys.stderr)
        self.bar: Progress | None = None

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.last_line = time.monotonic()
        self.last_step = trainer.global_step
        if self.console.is_terminal and trainer.is_global_zero:
            total = trainer.max_steps if trainer.max_steps > 0 else None
            bar = Progress(
                TextColumn("training"), BarColumn(bar_width=24), TextColumn("{task.fields[line]}"),
                console=self.console, transient=True,
            )  # fmt: skip
            self.task: TaskID = bar.add_task(
                "", total=total, completed=trainer.global_step, line=step_line(trainer)
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
        stepped = trainer.global_step != self.last_step
        self.last_step = trainer.global_step
        if not stepped or not trainer.is_global_zero:
            return
        now = time.monotonic()
        if self.bar:
            self.bar.update(self.task, completed=trainer.global_step, line=step_line(trainer))
        elif now - self.last_line >= self.every_seconds:
            self.last_line = now
            self.console.print(f"step {step_line(trainer)}", highlight=False, soft_wrap=True)

    def on_train_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if self.bar:
            self.bar.stop()

    def on_exception(
        self, trainer: L.Trainer, pl_module: L.LightningModule, exception: BaseException
    ) -> None:
        if self.bar:
            self.bar.stop()


def step_line(trainer: L.Trainer) -> str:
    """`120/400  2.31 steps/s  18.4k tokens/s  2:01 left  train/ce 4.120  valid/ce 4.300`."""
    clock = clock_of(trainer)
    parts = [f"{trainer.global_step}/{trainer.max_steps}" if trainer.max_steps > 0 else
             f"{trainer.global_step}"]  # fmt: skip
    rate, left = clock.steps_per_second(), clock.seconds_left(trainer)
    metrics = trainer.callback_metrics
    if rate is not None:
        parts.append(f"{rate:.2f} steps/s" if rate >= 0.1 else f"{1 / rate:.1f} s/step")
    if "speed/tokens_per_second" in metrics:
        parts.append(f"{short(float(metrics['speed/tokens_per_second']))} tokens/s")
    if left is not None:
        parts.append(f"{clock_time(left)} left")
    parts += [
        f"{name} {float(value):.3f}"
        for name, value in metrics.items()
        if name.split("/")[-1] in LOSSES
    ]
    return "  ".join(parts)


def short(number: float) -> str:
    """Three digits: 950, 18.4k, 1.20M."""
    for unit, size in (("G", 1e9), ("M", 1e6), ("k", 1e3)):
        if number >= size:
            return f"{number / size:.{max(0, 2 - int(math.log10(number / size)))}f}{unit}"
    return f"{number:.0f}"


def clock_time(seconds: float) -> str:
    """2:01, 3:05:09, or 2 d 03:05 h."""
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    if hours >= 24:
        return f"{hours // 24} d {hours % 24:02d}:{minutes:02d} h"
    return f"{hours}:{minutes:02d}:{rest:02d}" if hours else f"{minutes}:{rest:02d}"
