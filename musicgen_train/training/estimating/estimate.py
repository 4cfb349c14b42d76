"""Memory and time of a training step, measured before the run begins."""

import time
from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.training.estimating.device_memory import (
    available_memory,
    peak_memory,
    release_unused,
    reset_peak,
    used_memory,
)

SAFE = 0.6  # share of the memory up to which larger batches are tried
GROWTH = 4  # of the batch from one trial to the next


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
    """Measure `loss(B)`, forward and backward, at B = 1, 2, 8, 32, … as far as that fits with ease.

    It goes on linearly from the last two: the peak is the highest of several moments, and in small
    batches it is not yet that of the activations. Gradients are left as they were found: none.
    """
    _trial(module, loss, 1, device)  # the first pass also pays for starting up, and makes gradients
    size, last, item = 1, _trial(module, loss, 1, device), 0.0
    there = available_memory(device) or 0.0
    while size < batch_size:
        larger = min(batch_size, 2 if size == 1 else GROWTH * size)
        if size > 1 and last.peak + (larger - size) * item > SAFE * there:
            break
        found = _trial(module, loss, larger, device)
        item = max(found.peak - last.peak, 0.0) / (larger - size)
        size, last = larger, found
    module.zero_grad(set_to_none=True)
    seconds = last.seconds * batch_size / size
    return StepEstimate(batch_size, last.peak - size * item, item, seconds)


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
