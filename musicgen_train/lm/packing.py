"""Linear layers whose weights are laid out, or quantised, for fast products with few rows on CPUs.

A step of generation multiplies each matrix with a handful of rows, so its time is that of reading
the weights. torch's float32 product reads them at a quarter of what the memory gives (measured in
benchmarks/generate.py); oneDNN's own layout, and fewer bits a weight, do better.
"""

from typing import Any

import torch
from torch import Tensor, nn

from musicgen_train.errors import UserError


def can_pack() -> bool:
    """Whether this build of torch has oneDNN's packed product."""
    try:
        pack(torch.zeros(16, 16))
    except (AttributeError, RuntimeError):
        return False
    return True


def pack(weight: Tensor) -> Tensor:
    """A weight [out, in] in the layout of oneDNN's choice; `.to_dense()` gives it back."""
    return torch.ops.mkldnn._reorder_linear_weight(weight.detach().contiguous(), None)


def rounded(weights: str) -> UserError:
    """That a model is not what it was trained to be, and so must not be saved."""
    return UserError(
        f"this model's weights were rounded to {weights} for generation: save the one it came from"
    )


class PackedLinear(nn.Module):
    """x W^T with a packed W in float32 or bfloat16; [..., in] -> [..., out], in x's own type."""

    def __init__(self, linear: nn.Linear, dtype: torch.dtype) -> None:
        super().__init__()
        assert linear.bias is None, "packed products have no bias"
        self.dtype = dtype
        self.packed = pack(linear.weight.to(dtype))

    def forward(self, x: Tensor) -> Tensor:
        y = torch.ops.mkldnn._linear_pointwise(x.to(self.dtype), self.packed, None, "none", [], "")
        return y.to(x.dtype)

    def unpack(self) -> nn.Linear:
        """The plain float32 layer."""
        return to_linear(self.packed.to_dense())

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
        self.weight = quantised.clamp(-127, 127).to(torch.int8)

    def forward(self, x: Tensor) -> Tensor:
        rows = x.reshape(-1, x.shape[-1]).bfloat16()
        y = torch.ops.aten._weight_int8pack_mm(rows, self.weight, self.scale)
        return y.to(x.dtype).view(*x.shape[:-1], -1)

    def unpack(self) -> nn.Linear:
        """A plain float32 layer of the rounded weights."""
        return to_linear(self.weight.float() * self.scale.float()[:, None])

    def _save_to_state_dict(self, destination: Any, prefix: str, keep_vars: bool) -> None:
        raise rounded("int8")


def to_linear(weight: Tensor) -> nn.Linear:
    """A layer without bias of this weight, in float32."""
    linear = nn.Linear(weight.shape[1], weight.shape[0], bias=False, device="meta")
    linear.weight = nn.Parameter(weight.float())
    return linear
