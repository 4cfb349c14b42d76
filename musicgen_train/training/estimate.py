"""Memory of a training step, measured on small batches before the run begins."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.training.device_memory import (
    available_memory,
    peak_memory,
    release_unused,
    reset_peak,
    used_memory,
)

SAFE = 0.6  # share of the memory up to which a whole batch is tried, in place of extrapolating


class StepEstimate(NamedTuple):
    """What a batch of `batch_size` items takes, forward and backward."""

    batch_size: int
    fixed_memory: float  # bytes, whatever the batch: the process, weights, gradients
    item_memory: float  # bytes for each item
    seconds: float

    @property
    def memory(self) -> float:
        return self.fixed_memory + self.batch_size * self.item_memory


def estimate_step(
    module: nn.Module, loss: Callable[[int], Tensor], batch_size: int, device: torch.device
) -> StepEstimate:
    """Measure `loss(B)`, forward and backward, at B = 1 and 2, and go on linearly.

    If that says that a whole batch will fit with ease, it is measured itself. Gradients are left as
    they were found: none.
    """
    _trial(module, loss, 1, device)  # the first pass also pays for starting up, and makes gradients
    one = _trial(module, loss, 1, device)
    two = _trial(module, loss, 2, device) if batch_size > 1 else one
    item = max(two.peak - one.peak, 0.0)
    seconds = one.seconds + (batch_size - 1) * max(two.seconds - one.seconds, one.seconds / 4)
    there = available_memory(device)
    fits = there is not None and one.peak + (batch_size - 1) * item < SAFE * there
    if batch_size > 2 and fits:
        whole = _trial(module, loss, batch_size, device)
        item = max(whole.peak - one.peak, 0.0) / (batch_size - 1)
        seconds = whole.seconds
    module.zero_grad(set_to_none=True)
    return StepEstimate(batch_size, one.peak - item, item, seconds)


class _Trial(NamedTuple):
    peak: float  # bytes
    seconds: float


def _trial(
    module: nn.Module, loss: Callable[[int], Tensor], size: int, device: torch.device
) -> _Trial:
    """A step's highest use of memory, and its time.

    Gradients stay and are added to, as in a training: the old ones are there through the forward
    pass, and when gradients accumulate through the backward pass too.
    """
    release_unused(device)
    before = used_memory(device)
    reset_peak(device)
    began = time.perf_counter()
    loss(size).backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    seconds = time.perf_counter() - began
    return _Trial(max(peak_memory(device), before), seconds)
