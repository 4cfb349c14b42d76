"""Progress: optimizer steps, and a time left that is right after a resume and a validation."""

import io
import re
import time

import lightning as L
import pytest
from rich.console import Console

from musicgen_train.training.monitoring.progress import StepProgress, clock_time, short, step_line
from musicgen_train.training.monitoring.step_clock import clock_of
from musicgen_train.training.monitoring.throughput import Throughput
from tests.training.small_runs import parts_of, trainer_of


class Watcher(L.Callback):
    """Notes the line and the time left after each batch; steps and validations take their time."""

    def __init__(self, slow_step=None, validation=0.0, stop_after=None):
        self.slow_step, self.validation, self.stop_after = slow_step, validation, stop_after
        self.lines, self.left = [], []

    def on_train_batch_start(self, trainer, pl_module, batch, batch_idx):
        time.sleep(1.0 if batch_idx == self.slow_step else 0.05)

    def on_validation_epoch_start(self, trainer, pl_module):
        time.sleep(self.validation)

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.lines.append(step_line(trainer))
        self.left.append(clock_of(trainer).seconds_left(trainer))
        trainer.should_stop = len(self.lines) == self.stop_after


def watch(datasets, watcher, progress=None, resume_at=0, **options):
    _, task, datamodule = parts_of("lm_demo", datasets)
    trainer = trainer_of(Throughput(), progress or StepProgress(), watcher, **options)
    if resume_at:
        # What a checkpoint restores of the loops.
        trainer.fit_loop.epoch_loop.automatic_optimization.optim_progress.optimizer.step.total.completed = resume_at  # noqa: E501
    trainer.fit(task, datamodule)
    return trainer


def test_a_line_counts_optimizer_steps_and_says_speed_time_and_loss(datasets):
    watcher = Watcher()
    watch(datasets, watcher, max_steps=3, accumulate_grad_batches=2)
    pattern = r"3/3  \d+\.\d\d steps/s  [\d.]+k? tokens/s  0:00 left  train/ce \d\.\d{3}"
    assert re.fullmatch(pattern, watcher.lines[-1].split("  train/ce_q")[0])
    assert [line.split("  ")[0] for line in watcher.lines[1::2]] == ["1/3", "2/3", "3/3"]


def test_the_first_step_does_not_count_for_the_time_left(datasets):
    watcher = Watcher(slow_step=0, stop_after=3)
    watch(datasets, watcher, max_steps=103)
    assert watcher.left[0] is None
    assert 100 * 0.05 < watcher.left[2] < 100 * 0.05 * 4  # not of a second each


def test_a_resumed_run_counts_from_where_it_stands(datasets):
    watcher = Watcher()
    watch(datasets, watcher, resume_at=996, max_steps=1000)
    assert watcher.lines[0].startswith("997/1000")
    assert watcher.left[1] == pytest.approx(2 * 0.07, abs=0.15)


def test_validations_to_come_are_in_the_time_left(datasets):
    watcher = Watcher(validation=0.6)
    watch(datasets, watcher, max_steps=6, val_check_interval=2, limit_val_batches=1)
    left = watcher.left[2]  # after step 3: 3 more steps, of which the 4th validates
    assert 0.6 + 3 * 0.05 < left < 0.6 + 3 * 0.05 + 0.6


def test_a_validation_that_is_over_is_not_in_the_speed(datasets):
    watcher = Watcher(validation=3.0)
    watch(datasets, watcher, max_steps=7, val_check_interval=4, limit_val_batches=1)
    assert 2 * 0.05 < watcher.left[4] < 1.0  # two steps; the mean of the last ones has 0.8 s each


def test_without_a_terminal_lines_come_now_and_then(datasets):
    progress = StepProgress(every_seconds=0.2)
    progress.console = Console(file=io.StringIO(), width=40)
    watch(datasets, Watcher(), progress, max_steps=8)
    lines = progress.console.file.getvalue().splitlines()
    assert 1 <= len(lines) <= 5
    assert all(line.startswith("step ") and "/8  " in line for line in lines)


def test_numbers_and_times_are_short():
    assert [short(n) for n in (950, 18_440, 1.2e6, 123_456)] == ["950", "18.4k", "1.20M", "123k"]
    assert [clock_time(s) for s in (59.6, 121, 11109, 97500)] == [
        "1:00", "2:01", "3:05:09", "1 d 03:05 h"
    ]  # fmt: skip
