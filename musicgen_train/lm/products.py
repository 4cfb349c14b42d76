"""Products of activations and weights that are trained; in float32 on a CPU they are oneDNN's.

torch multiplies float32 by MKL, which on an AMD processor reaches 73 to 94 % of what oneDNN does
(docs/training.md). It asks oneDNN only if float32 may be rounded to
bfloat16 inside a product. oneDNN does round on processors with matrix units for bfloat16 (AMX): the
first product is looked at, and if it was rounded, MKL it is.
"""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from threading import RLock
from typing import Any

import torch
from torch import Tensor, nn
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

_switch = RLock()


class Linear(nn.Linear):
    """x W^T, and a bias if it has one: [..., in] -> [..., out]."""

    def forward(self, input: Tensor) -> Tensor:
        if not _suits(input, self.weight):
            return super().forward(input)
        y = _Product.apply(input, self.weight)
        return y if self.bias is None else y + self.bias


@contextmanager
def by_onednn(x: Tensor) -> Iterator[None]:
    """Products inside are oneDNN's, if x is float32 on a CPU and they stay float32."""
    if x.device.type == "cpu" and x.dtype == torch.float32 and _exact():
        with _asked():
            yield
    else:
        yield


class _Product(Function):
    """x [..., in], weight [out, in] -> [..., out], forward and backward by oneDNN."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor) -> Tensor:
        ctx.save_for_backward(x, weight)
        with _asked():
            return F.linear(x, weight)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, Tensor | None]:  # type: ignore[override]
        x, weight = ctx.saved_tensors
        (grad,) = grads
        to_x = to_weight = None
        with _asked():
            if ctx.needs_input_grad[0]:
                to_x = grad @ weight
            if ctx.needs_input_grad[1]:
                to_weight = grad.flatten(0, -2).T @ x.flatten(0, -2)
        return to_x, to_weight


def _suits(x: Tensor, weight: Tensor) -> bool:
    """Whether a product is trained, in float32, on a CPU whose oneDNN keeps it that."""
    return (
        x.device.type == "cpu"
        and x.dtype == weight.dtype == torch.float32
        and x.ndim > 1
        and torch.is_grad_enabled()
        and (x.requires_grad or weight.requires_grad)
        and not torch.is_autocast_enabled("cpu")
        and not torch.compiler.is_compiling()  # compiled code calls what it was compiled with
        and _exact()
    )


def _exact() -> bool:
    """Whether oneDNN is there, not switched off, and multiplies float32 unrounded."""
    mkldnn = torch.backends.mkldnn
    return mkldnn.is_available() and bool(mkldnn.enabled) and _unrounded()


@cache
def _unrounded() -> bool:
    """Multiply what bfloat16 would round to ones.

    In a thread of its own: autocast, default devices and counters of the caller's are not its.
    """

    def multiplied() -> bool:
        x = torch.full((64, 64), 1 + 2**-12)
        with _asked():
            return bool(((x @ x.T) / 64 - 1 > 2**-12).all())

    with ThreadPoolExecutor(1) as thread:
        return thread.submit(multiplied).result()


@contextmanager
def _asked() -> Iterator[None]:
    """Let torch ask oneDNN for products of float32; its switch is one for all threads."""
    matmul: Any = torch.backends.mkldnn.matmul  # type: ignore[attr-defined]
    with _switch:
        before = matmul.fp32_precision
        matmul.fp32_precision = "bf16"
        try:
            yield
        finally:
            matmul.fp32_precision = before
