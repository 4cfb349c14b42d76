"""The time that a run spends on its steps: without validation, samples and checkpoints."""

import time
from collections import deque
from typing import Any

import lightning as L
import torch

WINDOW = 100  # steps whose mean is the present speed


class StepClock(L.Callback):
    """Counts seconds of training and of waiting for data since this process began to train.

    It stands still from the start of a validation to its end, while samples are made, and from a
    checkpoint to the next batch. It has no state: a resumed run starts it anew. It has to be the
    first of the callbacks, so that the others find it up to date.
    """

    def __init__(self) -> None:
        self._timer: _FetchTimer | None = None
        self.waited = 0.0  # seconds in which the loop did nothing but wait for a batch
        self._marks: deque[tuple[int, float]] = deque(maxlen=WINDOW + 1)
        self._costs: dict[str, tuple[float, float]] = {}  # seconds of the last pause, steps between
        self._began = self._paused = 0.0
        self._pause: tuple[str, float, float] | None = None  # name, steps between, when it began

    @property
    def seconds(self) -> float:
        """Seconds of training so far."""
        now = time.perf_counter() if self._pause is None else self._pause[2]
        return now - self._began - self._paused

    def steps_per_second(self) -> float | None:
        """Over the last steps; the first of all, which may compile, is left out if possible."""
        if len(self._marks) < 2:
            return None
        (first, since), (last, until) = self._marks[0], self._marks[-1]
        return (last - first) / max(until - since, 1e-9)

    def seconds_left(self, trainer: L.Trainer) -> float | None:
        """Until max_steps, with the validations and samples to come; None: not known."""
        rate = self.steps_per_second()
        if rate is None or trainer.max_steps < 0:
            return None
        left = trainer.max_steps - trainer.global_step
        pauses = sum(seconds * (left // every) for seconds, every in self._costs.values())
        return left / rate + pauses

    def pause(self, name: str, device: torch.device, every: float = float("inf")) -> None:
        """Stand still, for something that comes `every` so many steps; within a pause, nothing."""
        if self._pause is None:
            _finish_kernels(device)
            self._pause = (name, every, time.perf_counter())

    def resume(self, name: str | None = None) -> None:
        """Go on after the pause of this name, or after whichever there is."""
        if self._pause is not None and name in (None, self._pause[0]):
            kind, every, since = self._pause
            seconds = time.perf_counter() - since
            self._paused += seconds
            self._costs[kind] = (seconds, every)
            self._pause = None

    def setup(self, trainer: Any, pl_module: L.LightningModule, stage: str) -> None:
        if stage == "fit":
            self._timer = _FetchTimer(trainer.profiler, self)
            trainer.profiler = self._timer

    def teardown(self, trainer: Any, pl_module: L.LightningModule, stage: str) -> None:
        if self._timer is not None and trainer.profiler is self._timer:
            trainer.profiler = self._timer.profiler

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.waited = self._paused = 0.0
        self._pause = None
        self._costs.clear()
        self._marks.clear()
        self._began = time.perf_counter()
        self._last_step = trainer.global_step

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.global_step != self._last_step:
            self._last_step = trainer.global_step
            self._marks.append((trainer.global_step, self.seconds))

    def on_validation_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.state.fn == "fit" and not trainer.sanity_checking:
            batches = trainer.val_check_batch or float("inf")
            every = max(1.0, batches / trainer.accumulate_grad_batches)
            self.pause("validation", trainer.strategy.root_device, every)

    def on_validation_end(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.resume("validation")

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        # Nothing tells when it is written; the next batch is asked for after that.
        self.pause("checkpoint", trainer.strategy.root_device)


class _FetchTimer:
    """Passes everything on to the run's profiler, and tells the clock how long a batch took.

    Callbacks are not told when a batch is asked for: between the end of a batch and the start of
    the next lie also loggers, validation, checkpoints and the copy to the device.
    """

    def __init__(self, profiler: Any, clock: StepClock) -> None:
        self.profiler = profiler
        self._clock = clock
        self._since = 0.0

    def __getattr__(self, name: str) -> Any:
        return getattr(self.profiler, name)

    def start(self, action_name: str) -> None:
        if action_name.endswith("train_dataloader_next"):
            self._clock.resume()
            self._since = time.perf_counter()
        self.profiler.start(action_name)

    def stop(self, action_name: str) -> None:
        self.profiler.stop(action_name)
        if action_name.endswith("train_dataloader_next"):
            self._clock.waited += time.perf_counter() - self._since


def clock_of(trainer: L.Trainer) -> StepClock:
    """The clock of a run."""
    callbacks: Any = trainer.callbacks  # type: ignore[attr-defined]
    clocks = [callback for callback in callbacks if isinstance(callback, StepClock)]
    assert clocks, "callbacks that measure speed need a StepClock among the trainer's callbacks"
    return clocks[0]


def _finish_kernels(device: torch.device) -> None:
    """Wait for what was given to a GPU: it is part of what came before."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
