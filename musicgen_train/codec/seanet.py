"""SEANet encoder and decoder (Tagliasacchi et al. 2020, as used by EnCodec, Défossez et al. 2022).

Module names follow transformers' `EncodecModel`, so that its checkpoints need no renaming.
"""

import math
from collections.abc import Sequence
from functools import partial
from typing import TypeVar

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
        return self.norm(self.conv(self.pad(x, self.left, self.right + -x.shape[-1] % self.stride)))

    def pad(self, x: Tensor, left: int, right: int) -> Tensor:
        if self.pad_mode == "constant":
            return F.pad(x, (left, right))
        # Reflection needs more samples than it mirrors: shorter inputs get zeros first.
        short = max(0, max(left, right) - x.shape[-1] + 1)
        padded = F.pad(F.pad(x, (0, short)), (left, right), mode="reflect")
        return padded[..., : padded.shape[-1] - short]


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
        y = self.norm(self.conv(x))
        return y[..., self.left : y.shape[-1] - self.right]


class LSTM(nn.Module):
    """LSTM over time with a skip connection: [B, D, T] -> [B, D, T]."""

    def __init__(self, dim: int, num_layers: int):
        super().__init__()
        self.lstm = nn.LSTM(dim, dim, num_layers)

    def forward(self, x: Tensor) -> Tensor:
        steps = x.permute(2, 0, 1)
        return (self.lstm(steps)[0] + steps).permute(1, 2, 0)


class ResidualBlock(nn.Module):
    """ELU, dilated convolution, ELU, 1x1 convolution, plus the input: [B, D, N] -> [B, D, N].

    The input is added as it is (`skip="identity"`) or through a 1x1 convolution (`"conv"`).
    """

    def __init__(
        self,
        dim: int,
        kernel_size: int,
        dilation: int,
        compress: int,
        skip: str,
        conv: "partial[Conv1d]",
    ):
        super().__init__()
        if skip not in ("identity", "conv"):
            raise UserError(f"unknown skip {skip!r}: use 'identity' or 'conv'")
        hidden = dim // compress
        self.block = nn.Sequential(
            nn.ELU(),
            conv(dim, hidden, kernel_size, dilation=dilation),
            nn.ELU(),
            conv(hidden, dim, 1),
        )
        self.shortcut = conv(dim, dim, 1) if skip == "conv" else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        return self.shortcut(x) + self.block(x)


class SEANetEncoder(nn.Module):
    """Waveform to latents: [B, channels, N] -> [B, dimension, ceil(N / hop)].

    `ratios` are in decoder order; the encoder strides by them reversed. hop = prod(ratios).
    """

    def __init__(
        self,
        *,
        channels: int,
        dimension: int,
        n_filters: int,
        ratios: Sequence[int],
        n_residual_layers: int = 1,
        lstm: int = 2,
        kernel_size: int = 7,
        residual_kernel_size: int = 3,
        last_kernel_size: int = 7,
        dilation_base: int = 2,
        compress: int = 2,
        skip: str = "identity",
        causal: bool = False,
        pad_mode: str = "constant",
        norm: str = "weight",
    ):
        super().__init__()
        conv = partial(Conv1d, causal=causal, pad_mode=pad_mode, norm=norm)
        layers: list[nn.Module] = [conv(channels, n_filters, kernel_size)]
        dim = n_filters
        for ratio in reversed(ratios):
            for j in range(n_residual_layers):
                dilation = dilation_base**j
                layers.append(
                    ResidualBlock(dim, residual_kernel_size, dilation, compress, skip, conv)
                )
            layers.append(nn.ELU())
            layers.append(conv(dim, dim * 2, ratio * 2, stride=ratio))
            dim *= 2
        if lstm:
            layers.append(LSTM(dim, lstm))
        layers.append(nn.ELU())
        layers.append(conv(dim, dimension, last_kernel_size))
        self.layers = nn.Sequential(*layers)

    def forward(self, wav: Tensor) -> Tensor:
        return self.layers(wav)


class SEANetDecoder(nn.Module):
    """Latents to waveform: [B, dimension, T] -> [B, channels, T * hop]."""

    def __init__(
        self,
        *,
        channels: int,
        dimension: int,
        n_filters: int,
        ratios: Sequence[int],
        n_residual_layers: int = 1,
        lstm: int = 2,
        kernel_size: int = 7,
        residual_kernel_size: int = 3,
        last_kernel_size: int = 7,
        dilation_base: int = 2,
        compress: int = 2,
        skip: str = "identity",
        causal: bool = False,
        pad_mode: str = "constant",
        norm: str = "weight",
        trim_right_ratio: float = 1.0,
    ):
        super().__init__()
        conv = partial(Conv1d, causal=causal, pad_mode=pad_mode, norm=norm)
        upsample = partial(
            ConvTranspose1d, causal=causal, trim_right_ratio=trim_right_ratio, norm=norm
        )
        dim = n_filters * 2 ** len(ratios)
        layers: list[nn.Module] = [conv(dimension, dim, kernel_size)]
        if lstm:
            layers.append(LSTM(dim, lstm))
        for ratio in ratios:
            layers.append(nn.ELU())
            layers.append(upsample(dim, dim // 2, ratio * 2, stride=ratio))
            dim //= 2
            for j in range(n_residual_layers):
                dilation = dilation_base**j
                layers.append(
                    ResidualBlock(dim, residual_kernel_size, dilation, compress, skip, conv)
                )
        layers.append(nn.ELU())
        layers.append(conv(dim, channels, last_kernel_size))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)
