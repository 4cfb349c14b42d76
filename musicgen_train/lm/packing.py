"""Linear layers whose weights are laid out, or quantised, for fast products with few rows on CPUs.

A step of generation multiplies each matrix with a handful of rows, so its time is that of reading
the weights. torch's float32 product reads them at a quarter of what the memory gives (measured in
benchmarks/generate.py); oneDNN's own layout, and fewer bits a weight, do better.
"""

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicgen_train.errors import UserError
from musicgen_train.lm.autocast import product_dtype
from musicgen_train.lm.products import Linear

KERNEL_COLUMNS = 16  # the 8-bit kernel reads so many at once, and past the end if they are fewer


def can_pack(dtype: torch.dtype) -> bool:
    """Whether this build of torch, and this CPU, have oneDNN's packed product in this type."""
    try:
        multiply(torch.zeros(2, 16, dtype=dtype), pack(torch.zeros(16, 16, dtype=dtype)))
    except (AttributeError, RuntimeError):
        return False
    return True


def pack(weight: Tensor) -> Tensor:
    """A weight [out, in] in the layout of oneDNN's choice; `.to_dense()` gives it back."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)


def multiply(x: Tensor, packed: Tensor) -> Tensor:
    """x W^T with a packed W."""
    return torch.ops.mkldnn._linear_pointwise(x, packed, None, "none", [], "")


def rounded(weights: str) -> UserError:
    """That a model is not what it was trained to be, and so must not be saved."""
    return UserError(
        f"this model's weights were rounded to {weights} for generation: save the one it came from"
    )


class PackedLinear(nn.Module):
    """x W^T with a packed W in float32 or bfloat16; [..., in] -> [..., out], as `nn.Linear`'s."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        assert linear.bias is None, "packed products have no bias"
        self.dtype = dtype
        self.packed = pack(linear.weight.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        return multiply(x.to(self.dtype), self.packed).to(product_dtype(x))

    def unpack(self) -> nn.Linear:
        """The plain float32 layer."""
        return to_linear(self.packed.to_dense())

    def __getstate__(self) -> dict[str, Any]:
        # Packed tensors can be neither copied nor pickled.
        return {**self.__dict__, "packed": self.packed.to_dense()}

    def __setstate__(self, state: dict[str, Any]) -> None:
        super().__setstate__({**state, "packed": pack(state["packed"])})

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        destination[prefix + "weight"] = self.packed.to_dense()


class Int8Linear(nn.Module):
    """x W^T with W in 8 bits, one scale for each output; x is rounded to bfloat16."""

    def __init__(self, linear: nn.Linear) -> None:
        super().__init__()
        assert linear.bias is None, "quantised products have no bias"
        weight = linear.weight.detach().float()
        # The kernel takes scales in bfloat16: rounded before they are used, they cost no accuracy.
        self.scale = (weight.abs().amax(dim=1) / 127).clamp(min=1e-12).bfloat16()
        quantised = (weight / self.scale.float()[:, None]).round()
        self.missing = -linear.in_features % KERNEL_COLUMNS
        self.weight = F.pad(quantised.clamp(-127, 127).to(torch.int8), (0, self.missing))

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        if self.missing:
            rows = F.pad(rows, (0, self.missing))
        y = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scale)
        return y.to(product_dtype(x)).view(*x.shape[:-1], -1)

    def unpack(self) -> nn.Linear:
        """A plain float32 layer of the rounded weights."""
        weight = self.weight[:, : self.weight.shape[1] - self.missing].float()
        return to_linear(weight * self.scale.float()[:, None])

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        raise rounded("int8")


def to_linear(weight: Tensor) -> nn.Linear:
    """A layer without bias of this weight, in float32."""
    linear = Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.float())
    return linear
