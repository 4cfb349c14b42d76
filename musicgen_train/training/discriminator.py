"""Multi-scale STFT discriminator (Défossez et al. 2022, section 3.4)."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrizations import weight_norm

from musicgen_train.errors import UserError

DILATIONS = (1, 2, 4)  # in time, of the three layers that halve the frequency axis


class Verdict(NamedTuple):
    """What one scale says of a batch of audio."""

    logits: Tensor  # [B, 1, frames, bins]: > 0 where it believes the audio real
    features: list[Tensor]  # of its hidden layers, each [B, filters, frames, bins]


class STFTDiscriminator(nn.Module):
    """Convolutions over a complex spectrogram of one window size: wav [B, C, N] -> Verdict."""

    window: Tensor

    def __init__(self, channels: int, filters: int, n_fft: int):
        super().__init__()
        self.n_fft = n_fft
        self.register_buffer("window", torch.hann_window(n_fft), persistent=False)
        # The first layer stays without weight norm, as in the reference.
        convs: list[nn.Module] = [nn.Conv2d(2 * channels, filters, (3, 9), padding=(1, 4))]
        for dilation in DILATIONS:
            conv = nn.Conv2d(
                filters, filters, (3, 9), stride=(1, 2), dilation=(dilation, 1),
                padding=(dilation, 4),
            )  # fmt: skip
            convs.append(weight_norm(conv))
        convs.append(weight_norm(nn.Conv2d(filters, filters, (3, 3), padding=(1, 1))))
        self.convs = nn.ModuleList(convs)
        self.conv_post = weight_norm(nn.Conv2d(filters, 1, (3, 3), padding=(1, 1)))

    def forward(self, wav: Tensor) -> Verdict:
        x = self.spectrogram(wav)
        features = []
        for conv in self.convs:
            x = F.leaky_relu(conv(x), 0.3)
            features.append(x)
        return Verdict(self.conv_post(x), features)

    def spectrogram(self, wav: Tensor) -> Tensor:
        """Real and imaginary parts, of unit window energy: [B, C, N] -> [B, 2 C, frames, bins]."""
        B, C, _ = wav.shape
        # The STFT has no half precision.
        with torch.autocast(wav.device.type, enabled=False):
            spectrum = torch.stft(
                wav.float().flatten(0, 1), self.n_fft, self.n_fft // 4, window=self.window,
                center=False, return_complex=True,
            )  # fmt: skip
            spectrum = (spectrum / self.window.square().sum().sqrt()).transpose(1, 2)
        spectrum = spectrum.unflatten(0, (B, C))
        return torch.cat([spectrum.real, spectrum.imag], 1)


class MultiScaleSTFTDiscriminator(nn.Module):
    """One discriminator for each of several window sizes: wav [B, C, N] -> a Verdict of each.

    N must reach the largest window.
    """

    def __init__(
        self,
        channels: int = 1,
        filters: int = 32,
        n_ffts: Sequence[int] = (1024, 2048, 512, 256, 128),
    ):
        super().__init__()
        if filters < 1 or not n_ffts or any(n_fft < 4 or n_fft % 4 for n_fft in n_ffts):
            raise UserError(
                f"a discriminator of {filters} filters and n_ffts {list(n_ffts)}: use at least one "
                "of each, and multiples of 4"
            )
        self.n_ffts = list(n_ffts)
        self.discriminators = nn.ModuleList(
            STFTDiscriminator(channels, filters, n_fft) for n_fft in n_ffts
        )
        # A third faster on a CPU than [B, C, H, W] order.
        self.to(memory_format=torch.channels_last)  # type: ignore[call-overload]

    def forward(self, wav: Tensor) -> list[Verdict]:
        return [discriminator(wav) for discriminator in self.discriminators]
