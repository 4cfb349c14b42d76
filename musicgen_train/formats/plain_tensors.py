"""Which tensors of a stranger's file are weights: numbers in memory that torch can convert."""

from typing import Any

import torch
from torch import Tensor

_FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
_COUNTS = (torch.bool, torch.uint8, torch.int32, torch.int64)


def why_no_weight(value: Any, *, counts: bool = False) -> str | None:
    """None for a dense CPU tensor of 16, 32 or 64 bit floats; else what it is instead.

    counts: whole numbers and truths will do as well.
    """
    if not isinstance(value, Tensor):
        return f"holds no tensor, but {type(value).__name__}"
    kind = str(value.dtype).removeprefix("torch.")
    if value.layout != torch.strided or value.is_nested:
        return f"is no dense tensor ({str(value.layout).removeprefix('torch.')})"
    if value.device.type != "cpu":
        return f"holds no numbers (it is on the device {value.device.type})"
    if value.dtype not in (_FLOATS + _COUNTS if counts else _FLOATS):
        return f"holds no floating point numbers of 16, 32 or 64 bits, but {kind}"
    return None
