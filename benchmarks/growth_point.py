"""One point of a curve: the time of a call and the memory that it adds, in a process of its own."""

import ctypes
import gc
import time
from collections.abc import Callable
from typing import Any

from benchmarks.evaluation_distances import peak_of_this_process


def device() -> str:
    """Where models are measured: a GPU, if there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def one_thread() -> None:
    """So that small sizes are not slowed down by threads that wait for each other."""
    import torch

    torch.set_num_threads(1)


def measured(
    call: Callable[[], Any], rounds: int, on: str = "cpu", warm: Callable[[], Any] | None = None
) -> dict[str, float]:
    """Seconds of a call, the best of so many, and the MiB that one adds at its peak.

    Before them comes one call of `warm`, a smaller one where the call itself takes long.
    """
    (warm or call)()
    best = min(seconds(call, on) for _ in range(rounds))
    return {"seconds": best, "MiB": gpu_mib(call) if on == "cuda" else host_mib(call)}


def seconds(call: Callable[[], Any], on: str = "cpu") -> float:
    """Seconds that a call takes of the device.

    On a CPU those of the processor, in all threads: what else the machine does matters little. A
    GPU's work is waited for before either reading of the clock.
    """
    import torch

    if on != "cuda":
        began = time.process_time()
        call()
        return time.process_time() - began
    torch.cuda.synchronize()
    began = time.perf_counter()
    call()
    torch.cuda.synchronize()
    return time.perf_counter() - began


def gpu_mib(call: Callable[[], Any]) -> float:
    """MiB that a call adds to what is allocated on the GPU, at its peak."""
    import torch

    torch.cuda.synchronize()
    torch.cuda.reset_peak_memory_stats()
    before = torch.cuda.memory_allocated()
    call()
    torch.cuda.synchronize()
    return (torch.cuda.max_memory_allocated() - before) / 2**20


def host_mib(call: Callable[[], Any]) -> float:
    """MiB that a call adds to this process at its peak."""
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed is no room for this one
    with peak_of_this_process() as peak:
        call()
    return peak["resident_mib"] - peak["before_mib"]
