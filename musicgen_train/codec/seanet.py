"""SEANet encoder and decoder (Tagliasacchi et al. 2020, as used by EnCodec, Défossez et al. 2022).

Module names follow transformers' `EncodecModel`, so that its checkpoints need no renaming.
"""

import math
from collections.abc import Sequence

import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm


class Conv1d(nn.Module):
    """Weight-normed convolution that pads so that N samples become ceil(N / stride) frames."""

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
    ):
        super().__init__()
        self.conv = weight_norm(
            nn.Conv1d(in_channels, out_channels, kernel_size, stride=stride, dilation=dilation)
        )
        self.stride = stride
        self.span = (kernel_size - 1) * dilation + 1
        self.causal = causal
        self.pad_mode = pad_mode

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, N] -> [B, out_channels, ceil(N / stride)]."""
        total = self.span - self.stride
        # The last window is completed on the right, so no sample is lost.
        extra = math.ceil(x.shape[-1] / self.stride) * self.stride - x.shape[-1]
        right = 0 if self.causal else total // 2
        return self.conv(self._pad(x, total - right, right + extra))

    def _pad(self, x: Tensor, left: int, right: int) -> Tensor:
        if self.pad_mode != "reflect":
            return F.pad(x, (left, right), mode=self.pad_mode)
        # Reflection needs more samples than it mirrors: shorter inputs get zeros first.
        short = max(0, max(left, right) - x.shape[-1] + 1)
        padded = F.pad(F.pad(x, (0, short)), (left, right), mode="reflect")
        return padded[..., : padded.shape[-1] - short]


class ConvTranspose1d(nn.Module):
    """Weight-normed transposed convolution, trimmed so that T frames become T * stride samples."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel_size: int,
        *,
        stride: int,
        causal: bool = False,
        trim_right_ratio: float = 1.0,
    ):
        super().__init__()
        self.conv = weight_norm(
            nn.ConvTranspose1d(in_channels, out_channels, kernel_size, stride=stride)
        )
        total = kernel_size - stride
        self.right = math.ceil(total * trim_right_ratio) if causal else total // 2
        self.left = total - self.right

    def forward(self, x: Tensor) -> Tensor:
        """[B, in_channels, T] -> [B, out_channels, T * stride]."""
        y = self.conv(x)
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
    """ELU, dilated convolution, ELU, 1x1 convolution, plus identity: [B, D, N] -> [B, D, N]."""

    def __init__(
        self, dim: int, kernel_size: int, dilation: int, compress: int, causal: bool, pad_mode: str
    ):
        super().__init__()
        hidden = dim // compress
        self.block = nn.Sequential(
            nn.ELU(),
            Conv1d(dim, hidden, kernel_size, dilation=dilation, causal=causal, pad_mode=pad_mode),
            nn.ELU(),
            Conv1d(hidden, dim, 1, causal=causal, pad_mode=pad_mode),
        )

    def forward(self, x: Tensor) -> Tensor:
        return x + self.block(x)


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
        causal: bool = False,
        pad_mode: str = "constant",
    ):
        super().__init__()
        same = {"causal": causal, "pad_mode": pad_mode}
        layers: list[nn.Module] = [Conv1d(channels, n_filters, kernel_size, **same)]
        dim = n_filters
        for ratio in reversed(ratios):
            for j in range(n_residual_layers):
                layers.append(
                    ResidualBlock(dim, residual_kernel_size, dilation_base**j, compress, **same)
                )
            layers.append(nn.ELU())
            layers.append(Conv1d(dim, dim * 2, ratio * 2, stride=ratio, **same))
            dim *= 2
        if lstm:
            layers.append(LSTM(dim, lstm))
        layers.append(nn.ELU())
        layers.append(Conv1d(dim, dimension, last_kernel_size, **same))
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
        causal: bool = False,
        pad_mode: str = "constant",
        trim_right_ratio: float = 1.0,
    ):
        super().__init__()
        same = {"causal": causal, "pad_mode": pad_mode}
        dim = n_filters * 2 ** len(ratios)
        layers: list[nn.Module] = [Conv1d(dimension, dim, kernel_size, **same)]
        if lstm:
            layers.append(LSTM(dim, lstm))
        for ratio in ratios:
            layers.append(nn.ELU())
            layers.append(
                ConvTranspose1d(
                    dim,
                    dim // 2,
                    ratio * 2,
                    stride=ratio,
                    causal=causal,
                    trim_right_ratio=trim_right_ratio,
                )
            )
            dim //= 2
            for j in range(n_residual_layers):
                layers.append(
                    ResidualBlock(dim, residual_kernel_size, dilation_base**j, compress, **same)
                )
        layers.append(nn.ELU())
        layers.append(Conv1d(dim, channels, last_kernel_size, **same))
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)
