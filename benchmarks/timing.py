"""Wall times, with the GPU's work in them, of calls that take turns in one process."""

import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any


def device_name() -> str:
    """Where benchmarks run: cuda if there is a GPU."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def training_dtype() -> str:
    """What products are computed in by `trainer=gpu`, and by `trainer=cpu`."""
    return "bfloat16" if device_name() == "cuda" else "float32"


def one_thread() -> None:
    """From here on: so that threads that wait for each other slow nothing down."""
    import torch

    torch.set_num_threads(1)


def synchronize() -> None:
    """Wait for the GPU, if there is one."""
    import torch

    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds(call: Callable[[], Any]) -> float:
    """Wall time of one call, until the GPU is done with it."""
    synchronize()
    began = time.perf_counter()
    call()
    synchronize()
    return time.perf_counter() - began


def device_seconds(call: Callable[[], Any], device: str) -> float:
    """Seconds that one call takes of a device.

    On a CPU those of the processor, in all threads: what else the machine does matters little. On
    a GPU wall time.
    """
    if device == "cuda":
        return seconds(call)
    began = time.process_time()
    call()
    return time.process_time() - began


def in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, list[float]]:
    """Seconds of each call in each round; in a round each has one turn."""
    times: dict[str, list[float]] = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(seconds(call))
    return times


def times_as_fast(ours: Sequence[float], peer: Sequence[float]) -> float:
    """The median over rounds of the peer's seconds to ours: what slows both leaves it alone."""
    return statistics.median(b / a for a, b in zip(ours, peer, strict=True))
