"""SEANet encoder and decoder (Tagliasacchi et al. 2020, as used by EnCodec, Défossez et al. 2022).

Module names follow transformers' `EncodecModel`, so that its checkpoints need no renaming.
"""

from collections.abc import Sequence
from dataclasses import dataclass

from torch import Tensor, nn

from musicgen_train.codec.layers import ELU, LSTM, Conv1d, ConvTranspose1d, ResidualBlock


@dataclass(frozen=True, kw_only=True)
class SEANetShape:
    """What encoder and decoder share; `Encodec` has the defaults."""

    channels: int
    dimension: int  # of the latents
    n_filters: int  # at the audio's rate; each stride doubles them
    ratios: Sequence[int]  # in decoder order; the encoder strides by them reversed
    n_residual_layers: int
    lstm: int  # layers
    kernel_size: int
    residual_kernel_size: int
    last_kernel_size: int
    dilation_base: int
    compress: int
    skip: str
    causal: bool
    pad_mode: str
    norm: str
    trim_right_ratio: float

    def conv(
        self, in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
    ) -> Conv1d:
        return Conv1d(
            in_channels, out_channels, kernel_size, stride=stride, causal=self.causal,
            pad_mode=self.pad_mode, norm=self.norm,
        )  # fmt: skip

    def upsample(self, in_channels: int, out_channels: int, ratio: int) -> ConvTranspose1d:
        return ConvTranspose1d(
            in_channels, out_channels, ratio * 2, stride=ratio, causal=self.causal,
            trim_right_ratio=self.trim_right_ratio, norm=self.norm,
        )  # fmt: skip

    def residuals(self, dim: int) -> list[ResidualBlock]:
        """The blocks of one stage, each of which looks `dilation_base` times further."""
        return [
            ResidualBlock(
                dim, self.residual_kernel_size, dilation=self.dilation_base**j,
                compress=self.compress, skip=self.skip, causal=self.causal,
                pad_mode=self.pad_mode, norm=self.norm,
            )
            for j in range(self.n_residual_layers)
        ]  # fmt: skip


class SEANetEncoder(nn.Module):
    """Waveform to latents: [B, channels, N] -> [B, dimension, ceil(N / prod(ratios))]."""

    def __init__(self, shape: SEANetShape):
        super().__init__()
        dim = shape.n_filters
        layers: list[nn.Module] = [shape.conv(shape.channels, dim, shape.kernel_size)]
        for ratio in reversed(shape.ratios):
            layers += shape.residuals(dim)
            layers += [ELU(), shape.conv(dim, dim * 2, ratio * 2, stride=ratio)]
            dim *= 2
        if shape.lstm:
            layers.append(LSTM(dim, shape.lstm))
        layers += [ELU(), shape.conv(dim, shape.dimension, shape.last_kernel_size)]
        self.layers = nn.Sequential(*layers)

    def forward(self, wav: Tensor) -> Tensor:
        return self.layers(wav)


class SEANetDecoder(nn.Module):
    """Latents to waveform: [B, dimension, T] -> [B, channels, T * prod(ratios)]."""

    def __init__(self, shape: SEANetShape):
        super().__init__()
        dim = shape.n_filters * 2 ** len(shape.ratios)
        layers: list[nn.Module] = [shape.conv(shape.dimension, dim, shape.kernel_size)]
        if shape.lstm:
            layers.append(LSTM(dim, shape.lstm))
        for ratio in shape.ratios:
            layers += [ELU(), shape.upsample(dim, dim // 2, ratio)]
            dim //= 2
            layers += shape.residuals(dim)
        layers += [ELU(), shape.conv(dim, shape.channels, shape.last_kernel_size)]
        self.layers = nn.Sequential(*layers)

    def forward(self, latents: Tensor) -> Tensor:
        return self.layers(latents)
