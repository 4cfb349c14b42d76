"""How much memory a device has, what this process uses of it, and the most it has used."""

import contextlib
import ctypes
import gc
from pathlib import Path

import torch

GB = 1e9


def available_memory(device: torch.device) -> float | None:
    """Bytes that this process may use on the device; None where the system does not say."""
    if device.type == "cuda":
        return float(torch.cuda.mem_get_info(device)[0] + torch.cuda.memory_reserved(device))
    free, used = _kilobytes("meminfo", "MemAvailable"), _kilobytes("self/status", "VmRSS")
    if free is None or used is None:
        return None
    limits = [free * 1024 + used * 1024, *_control_group_limit()]
    return min(limits)


def used_memory(device: torch.device) -> float:
    """Bytes in use: of tensors on a GPU, of the process otherwise; 0 where nobody says."""
    if device.type == "cuda":
        return float(torch.cuda.memory_allocated(device))
    return 1024 * (_kilobytes("self/status", "VmRSS") or 0.0)


def peak_memory(device: torch.device) -> float:
    """The most bytes in use since `reset_peak`, or where that cannot be, of the process so far."""
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated(device))
    # Not getrusage: a new process inherits the peak of the one that started it.
    return 1024 * (_kilobytes("self/status", "VmHWM") or 0.0)


def reset_peak(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats(device)
        return
    # Only Linux can.
    with contextlib.suppress(OSError):
        Path("/proc/self/clear_refs").write_text("5")


def release_unused(device: torch.device) -> None:
    """Give back what was freed, so that it does not hide the next use of memory."""
    gc.collect()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
        torch.cuda.empty_cache()
        return
    # glibc keeps freed blocks below 32 MB for itself; other C libraries have no such function.
    with contextlib.suppress(OSError, AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def _kilobytes(file: str, name: str) -> float | None:
    path = Path("/proc") / file
    if not path.exists():
        return None
    lines = dict(line.split(":", 1) for line in path.read_text().splitlines() if ":" in line)
    return float(lines[name].split()[0]) if name in lines else None


def _control_group_limit() -> list[float]:
    """The bytes that a container may use, if it has a limit of its own."""
    path = Path("/sys/fs/cgroup/memory.max")
    with contextlib.suppress(OSError, ValueError):
        return [float(int(path.read_text()))]
    return []
