"""The layers of SEANet: convolutions that make ceil(N / stride) frames of N, and back; the LSTM.

Module names follow transformers' `EncodecModel`, so that its checkpoints need no renaming.
"""

import math
from typing import Any, TypeVar

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from musicgen_train.errors import UserError

Conv = TypeVar("Conv", nn.Conv1d, nn.ConvTranspose1d)


def normed(conv: Conv, norm: str) -> tuple[Conv, nn.Module]:
    """The convolution, and what follows it, for one kind of normalisation.

    `norm` is "weight" (weight norm), "group" (the output over channels and time, as in the 48 kHz
    model) or "none".
    """
    if norm == "weight":
        return weight_norm(conv), nn.Identity()  # type: ignore[return-value]
    if norm == "group":
        return conv, nn.GroupNorm(1, conv.out_channels)
    if norm == "none":
        return conv, nn.Identity()
    raise UserError(f"unknown norm {norm!r}: use 'weight', 'group' or 'none'")


def convolve(conv: nn.Conv1d | nn.ConvTranspose1d, x: Tensor, padding: int = 0) -> Tensor:
    """The convolution of x [B, C, N], with zeros of its own on both sides.

    On a CPU it is faster with channels last in memory, but its gradient is slower.
    """
    transposed = isinstance(conv, nn.ConvTranspose1d)
    if x.device.type != "cpu" or torch.is_grad_enabled():
        run = F.conv_transpose1d if transposed else F.conv1d
        options = {"stride": conv.stride, "padding": padding, "dilation": conv.dilation}
        return run(x, conv.weight, conv.bias, **options)
    run = F.conv_transpose2d if transposed else F.conv2d
    options = {
        "stride": (1, *conv.stride),
        "padding": (0, padding),
        "dilation": (1, *conv.dilation),
    }
    image = x[:, :, None].contiguous(memory_format=torch.channels_last)
    return run(image, conv.weight[:, :, None], conv.bias, **options)[:, :, 0]


class Conv1d(nn.Module):
    """Convolution that pads so that N samples become ceil(N / stride) frames."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int = 1,
        dilation: int = 1,
        causal: bool = False,
        pad_mode: str = "constant",
        norm: str = "weight",
    ):
        super().__init__()
        conv = nn.Conv1d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation)
        self.conv, self.norm = normed(conv, norm)
        if pad_mode not in ("constant", "reflect"):
            raise UserError(f"unknown pad_mode {pad_mode!r}: use 'constant' or 'reflect'")
        self.stride = stride
        self.span = (kernel_size - 1) * dilation + 1  # samples under the kernel
        self.right = 0 if causal else (self.span - stride) // 2
        self.left = self.span - stride - self.right
        self.pad_mode = pad_mode

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, N] -> [B, out_channels, ceil(N / stride)]."""
        # The last window is completed on the right, so no sample is lost.
        right = self.right + -x.shape[-1] % self.stride
        if self.pad_mode != "constant" or right > self.left:
            return self.norm(convolve(self.conv, self.pad(x, self.left, right)))
        # Without a copy: the convolution pads both sides alike, and its surplus frames are dropped.
        n_frames = -(-x.shape[-1] // self.stride)
        return self.norm(convolve(self.conv, x, self.left)[..., :n_frames])

    def pad(self, x: Tensor, left: int, right: int) -> Tensor:
        """Longer by `left` and `right` samples; channels that lie last in memory stay so."""
        image, sides = x[:, :, None], (left, right, 0, 0)
        if self.pad_mode == "constant":
            return F.pad(image, sides)[:, :, 0]
        # Reflection needs more samples than it mirrors: shorter inputs get zeros first.
        short = max(0, max(left, right) - x.shape[-1] + 1)
        padded = F.pad(F.pad(image, (0, short)) if short else image, sides, mode="reflect")
        return padded[:, :, 0, : padded.shape[-1] - short]


class ConvTranspose1d(nn.Module):
    """Transposed convolution, trimmed so that T frames become T * stride samples."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        causal: bool = False,
        trim_right_ratio: float = 1.0,
        norm: str = "weight",
    ):
        super().__init__()
        conv = nn.ConvTranspose1d(in_channels, out_channels, kernel_size, stride=stride)
        self.conv, self.norm = normed(conv, norm)
        self.stride = stride
        self.overlap = kernel_size - stride  # samples that successive frames share
        self.right = math.ceil(self.overlap * trim_right_ratio) if causal else self.overlap // 2
        self.left = self.overlap - self.right

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, T] -> [B, out_channels, T * stride]."""
        y = self.norm(convolve(self.conv, x))
        return y[..., self.left : y.shape[-1] - self.right]


class LSTM(nn.Module):
    """LSTM over time with a skip connection: [B, D, T] -> [B, D, T]."""

    def __init__(self, dim: int, num_layers: int):
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, num_layers)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.permute(2, 0, 1)
        return (self.lstm(steps)[0] + steps).permute(1, 2, 0)


class ELU(nn.Module):
    """exp(x) - 1 where x < 0, and x elsewhere.

    On a CPU, torch's own takes several times as long: `expm1` keeps the digits of tiny x, which the
    next convolution's sum does not hear.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type == "cpu" and x.dtype == torch.float32:
            return _FastELU.apply(x)
        return F.elu(x)


class _FastELU(torch.autograd.Function):
    """ELU by `exp`, in one buffer; keeps its output for the gradient, which is 1 + min(y, 0)."""

    @staticmethod
    def forward(ctx: Any, x: Tensor) -> Tensor:
        y = x.clamp(max=0).exp_().sub_(1)
        torch.maximum(x, y, out=y)
        ctx.save_for_backward(y)
        return y

    @staticmethod
    def backward(ctx: Any, *grad_outputs: Tensor) -> Tensor:
        (y,) = ctx.saved_tensors
        return y.clamp(max=0).add_(1).mul_(grad_outputs[0])


class ResidualBlock(nn.Module):
    """ELU, dilated convolution, ELU, 1x1 convolution, plus the input: [B, D, N] -> [B, D, N].

    The input is added as it is (`skip="identity"`) or through a 1x1 convolution (`"conv"`).
    """

    def __init__(
        self, dim: int, kernel_size: int, *, dilation: int, compress: int, skip: str, **conv: Any
    ):
        super().__init__()
        if skip not in ("identity", "conv"):
            raise UserError(f"unknown skip {skip!r}: use 'identity' or 'conv'")
        hidden = dim // compress
        self.block = nn.Sequential(
            ELU(),
            Conv1d(dim, hidden, kernel_size, dilation=dilation, **conv),
            ELU(),
            Conv1d(hidden, dim, 1, **conv),
        )
        self.shortcut = Conv1d(dim, dim, 1, **conv) if skip == "conv" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x).add_(self.shortcut(x))
