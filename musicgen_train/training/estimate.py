"""Memory and time of a training step, measured on small batches before the run begins."""

import gc
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.errors import UserError

GB = 1e9


class StepEstimate(NamedTuple):
    """What a step of `batch_size` items will take."""

    batch_size: int
    fixed_memory: float  # bytes: weights, gradients, optimizer state, averages
    item_memory: float  # bytes that one item keeps for the backward pass
    seconds: float

    @property
    def memory(self) -> float:
        return self.fixed_memory + self.batch_size * self.item_memory

    def check(self, available: float | None) -> None:
        """Refuse a batch that will not fit into `available` bytes; name one that will."""
        if available is None or self.memory <= available:
            return
        fitting = int((available - self.fixed_memory) / self.item_memory)
        remedy = f"data.batch_size={fitting} fits" if fitting >= 1 else "shorten the crops"
        raise UserError(
            f"a step of data.batch_size={self.batch_size} takes about {self.memory / GB:.1f} GB, "
            f"but {available / GB:.1f} GB are free: {remedy}"
        )

    def __str__(self) -> str:
        return (
            f"estimated: {self.memory / GB:.1f} GB of memory and {self.seconds:.2f} s a step "
            f"of {self.batch_size} items"
        )


def estimate_step(
    module: nn.Module, loss: Callable[[int], Tensor], batch_size: int, n_copies: int
) -> StepEstimate:
    """Measure `loss(B)`, forward and backward, at B = 1 and 2, and go on linearly.

    `n_copies` counts the float32 tensors kept for each trainable weight: itself, its gradient,
    optimizer state, averages. Gradients are left as they were found: none.
    """
    trainable = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    _measure(module, loss, 1)  # the first pass also pays for starting up
    (one_bytes, one_seconds), (two_bytes, two_seconds) = (_measure(module, loss, b) for b in (1, 2))
    return StepEstimate(
        batch_size,
        fixed_memory=float(n_copies * trainable),
        item_memory=max(two_bytes - one_bytes, one_bytes / 2),
        seconds=one_seconds + (batch_size - 1) * max(two_seconds - one_seconds, one_seconds / 4),
    )


def available_memory(device: torch.device) -> float | None:
    """Free bytes on the device; None where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0])
    meminfo = Path("/proc/meminfo")
    if device.type != "cpu" or not meminfo.exists():
        return None
    lines = dict(line.split(":") for line in meminfo.read_text().splitlines())
    return float(lines["MemAvailable"].split()[0]) * 1024


def _measure(module: nn.Module, loss: Callable[[int], Tensor], size: int) -> tuple[float, float]:
    """Bytes kept for the backward pass of one step, and its seconds."""
    began = time.perf_counter()
    with _kept_bytes(module) as kept:
        value = loss(size)
    value.backward()
    if value.is_cuda:
        torch.cuda.synchronize()
    seconds = time.perf_counter() - began
    module.zero_grad(set_to_none=True)
    del value
    gc.collect()
    return float(sum(kept.values())), seconds


@contextmanager
def _kept_bytes(module: nn.Module) -> Iterator[dict[int, int]]:
    """Sizes of the storages that autograd keeps, by address; weights are no extra."""
    weights = {p.untyped_storage().data_ptr() for p in module.parameters()}
    kept: dict[int, int] = {}

    def keep(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            kept[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
        yield kept
