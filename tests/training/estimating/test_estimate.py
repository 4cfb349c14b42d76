"""The estimate of a batch: it grows with the batch, and leaves nothing behind."""

import pytest
import torch
from torch import nn

from benchmarks.memory import in_fresh_process
from musicgen_train.training.estimating import estimate
from musicgen_train.training.estimating.device_memory import available_memory
from musicgen_train.training.estimating.estimate import estimate_step

CPU = torch.device("cpu")


class Rows(nn.Module):
    """A layer whose use of memory can be counted by hand.

    Its outputs are above the 32 MiB up to which glibc keeps freed blocks for later.
    """

    def __init__(self):
        super().__init__()
        self.net = nn.Sequential(nn.Linear(100, 8000, bias=False), nn.Sigmoid())
        self.sizes = []

    def loss(self, size):
        self.sizes.append(size)
        return self.net(torch.ones(size * 2000, 100)).sum()


def measure_rows():
    """The estimate, and whether it left a gradient behind."""
    rows = Rows()
    return estimate_step(rows, rows.loss, 4, CPU), rows.net[0].weight.grad is not None


def test_memory_grows_by_what_an_item_keeps_for_the_backward_pass():
    # As train.py has it: what other tests have freed would hide what this one takes.
    step, left_behind = in_fresh_process(measure_rows)
    # The input, the linear layer's output, the sigmoid's, and a gradient of it at the same time.
    low, high = 4 * 2000 * (100 + 2 * 8000), 4 * 2000 * (100 + 4 * 8000)
    assert 0.99 * low < step.item_memory < high  # pages are counted whole
    assert step.memory == step.fixed_memory + 4 * step.item_memory
    assert step.fixed_memory > 2 * 4 * 100 * 8000  # weights and gradients
    assert 0 < step.seconds < 100
    assert not left_behind


def test_larger_batches_are_tried_only_if_they_will_fit_with_ease(monkeypatch):
    rows = Rows()
    estimate_step(rows, rows.loss, 4, CPU)
    assert rows.sizes == [1, 1, 2, 4]
    rows.sizes.clear()
    monkeypatch.setattr(estimate, "available_memory", lambda device: 1.0)
    estimate_step(rows, rows.loss, 4, CPU)
    assert rows.sizes == [1, 1, 2]


def test_small_batches_do_not_hide_what_large_ones_take(monkeypatch):
    peaks = {1: 10.0, 2: 10.0, 8: 16.0, 32: 40.0}  # bytes: 10 of something else, then 8 + size
    monkeypatch.setattr(estimate, "available_memory", lambda device: 100.0)

    def trial(module, loss, size, device):
        return estimate._Trial(peaks[size], size / 10)

    monkeypatch.setattr(estimate, "_trial", trial)
    step = estimate_step(nn.Identity(), lambda size: torch.zeros(()), 100, CPU)
    assert step.memory == 108.0 and step.seconds == pytest.approx(10.0)


def test_the_machine_says_how_much_memory_there_is():
    there = available_memory(CPU)
    assert there is None or 1e8 < there < 1e14
