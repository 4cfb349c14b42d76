"""Memory and time of a training step, measured on small batches before the run begins."""

import contextlib
import gc
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.errors import UserError

GB = 1e9


class StepEstimate(NamedTuple):
    """What a step of `batch_size` items will take."""

    batch_size: int
    fixed_memory: float  # bytes, whatever the batch: the process, weights, gradients, optimizers
    item_memory: float  # bytes for each item
    seconds: float

    @property
    def memory(self) -> float:
        return self.fixed_memory + self.batch_size * self.item_memory

    def check(self, available: float | None) -> None:
        """Refuse a batch that will not fit into `available` bytes; name one that will."""
        if available is None or self.memory <= available:
            return
        fitting = int((available - self.fixed_memory) / max(self.item_memory, 1))
        remedy = f"data.batch_size={fitting} fits" if fitting >= 1 else "shorten the crops"
        raise UserError(
            f"a step of data.batch_size={self.batch_size} takes about {self.memory / GB:.1f} GB, "
            f"but {available / GB:.1f} GB are there: {remedy}"
        )

    def __str__(self) -> str:
        return (
            f"estimated: {self.memory / GB:.1f} GB of memory and {self.seconds:.2f} s a step "
            f"of {self.batch_size} items"
        )


def estimate_step(
    module: nn.Module, loss: Callable[[int], Tensor], batch_size: int, device: torch.device
) -> StepEstimate:
    """Measure `loss(B)`, forward and backward, at B = 1 and 2, and go on linearly.

    Adam's two averages are added, which the trial does not make. Gradients are left as they were
    found: none.
    """
    trainable = sum(p.numel() * p.element_size() for p in module.parameters() if p.requires_grad)
    _measure(module, loss, 1, device)  # the first pass also pays for starting up
    one = _measure(module, loss, 1, device)
    two = _measure(module, loss, 2, device) if batch_size > 1 else one
    item = max(two.peak - one.peak, 0)
    return StepEstimate(
        batch_size,
        fixed_memory=one.peak - item + 2 * trainable,
        item_memory=item,
        seconds=one.seconds + (batch_size - 1) * max(two.seconds - one.seconds, one.seconds / 4),
    )


def available_memory(device: torch.device) -> float | None:
    """Bytes that this process may use on the device; None where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    free, used = (_kilobytes(*x) for x in (("meminfo", "MemAvailable"), ("self/status", "VmRSS")))
    return None if free is None or used is None else 1024 * (free + used)


class _Measured(NamedTuple):
    peak: float  # bytes
    seconds: float


def _measure(
    module: nn.Module, loss: Callable[[int], Tensor], size: int, device: torch.device
) -> _Measured:
    """One step's highest use of memory by the process, and its time."""
    gc.collect()
    _reset_peak(device)
    began = time.perf_counter()
    loss(size).backward()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    measured = _Measured(_peak(device), time.perf_counter() - began)
    module.zero_grad(set_to_none=True)
    return measured


def _reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    # Only Linux can: elsewhere the peak is that of the whole process so far.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def _peak(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    import resource

    unit = 1 if sys.platform == "darwin" else 1024
    return float(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit)


def _kilobytes(file: str, name: str) -> float | None:
    path = Path("/proc") / file
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines())
    return float(lines[name].split()[0])
