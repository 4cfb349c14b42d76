"""Memory of this process and of the GPU: at its peak, added by a call, in a process of its own."""

import ctypes
import gc
import multiprocessing
import re
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from typing import Any


def peak_mib() -> float:
    """The most memory so far: of the GPU if there is one, else of this process; in MiB."""
    import torch

    if torch.cuda.is_available():
        return torch.cuda.max_memory_allocated() / 2**20
    # Not getrusage: a new process inherits the peak of the one that started it.
    return status_mib("VmHWM")


def status_mib(field: str, process: int | str = "self") -> float:
    """A field of Linux's /proc/PROCESS/status in MiB; OSError or ValueError if it is not there."""
    found = re.search(rf"{field}:\s*(\d+) kB", Path(f"/proc/{process}/status").read_text())
    if not found:
        raise ValueError(f"/proc/{process}/status has no {field}")
    return int(found[1]) / 2**10


def added_mib(call: Callable[[], Any], device: str = "cpu") -> float:
    """MiB that a call adds at its peak: to what tensors take of a GPU, or to this process."""
    gc.collect()
    if device == "cuda":
        import torch

        torch.cuda.synchronize()
        torch.cuda.reset_peak_memory_stats()
        before = torch.cuda.memory_allocated()
        call()
        torch.cuda.synchronize()
        return (torch.cuda.max_memory_allocated() - before) / 2**20
    ctypes.CDLL(None).malloc_trim(0)  # what earlier calls freed is no room for this one
    with peak_of_this_process() as peak:
        call()
    return peak["resident_mib"] - peak["before_mib"]


@contextmanager
def peak_of_this_process() -> Iterator[dict[str, float]]:
    """Fills in the peak within the block in MiB: of all pages, and of those that are its own.

    Pages of mapped files count as resident, though the kernel takes them back when it needs them.
    """
    found: dict[str, float] = {}
    Path("/proc/self/clear_refs").write_text("5")  # from here on VmHWM is a new peak
    before, own, done = status_mib("VmRSS"), [status_mib("RssAnon")], threading.Event()

    def watch() -> None:
        while not done.wait(0.005):
            own.append(max(own.pop(), status_mib("RssAnon")))

    watcher = threading.Thread(target=watch)
    watcher.start()
    try:
        yield found
    finally:
        done.set()
        watcher.join()
    found |= {"before_mib": before, "resident_mib": status_mib("VmHWM"), "own_mib": own[0]}


def in_fresh_process(function: Callable[..., Any], *arguments: Any) -> Any:
    """Call a module's function in a new process, whose peak nothing else has raised."""
    spawn = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(1, mp_context=spawn) as pool:
        return pool.submit(function, *arguments).result()
