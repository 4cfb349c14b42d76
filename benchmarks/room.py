"""Room in a GPU's memory: what is held, and whether something fits."""

import gc
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def if_it_fits(call: Callable[[], T]) -> T | None:
    """What a call returns; None if the GPU's memory does not suffice. What it held is free then."""
    import torch

    try:
        found = call()
    except torch.OutOfMemoryError:
        found = None
    # Not in the block above: there, the error would keep what its frames hold.
    torch._dynamo.reset()  # compiled code keeps the model that it was made for
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    return found


def held_mib() -> float:
    """What tensors of this process take of the GPU now; 0 without one."""
    import torch

    return torch.cuda.memory_allocated() / 2**20 if torch.cuda.is_available() else 0.0


def device_gb() -> float:
    """Memory of the GPU in 10^9 bytes."""
    import torch

    if not torch.cuda.is_available():
        return float("nan")
    return torch.cuda.get_device_properties(0).total_memory / 1e9
