"""What VGGish sees of a clip: log-mel patches, as Google's FAD code cuts them."""

from __future__ import annotations

import torch
from torch import Tensor, nn

SAMPLE_RATE = 16_000  # samples/s
WINDOW, WINDOW_HOP = 16_000, 8_000  # samples per embedding, and between embeddings
FRAME, FRAME_HOP, N_FFT = 400, 160, 512  # samples
PATCH, PATCH_HOP = 96, 50  # frames: the last 2 of a window's 98 are not used
N_MELS, LOWEST, HIGHEST = 64, 125.0, 7500.0  # bands; Hz
OFFSET = 0.01  # added to magnitudes before the logarithm


def count_windows(n_samples: int) -> int:
    """How many whole windows fit into a clip: 10 s hold 19, less than 1 s holds none."""
    return max(0, 1 + (n_samples - WINDOW) // WINDOW_HOP)


def mel_weights() -> Tensor:
    """Triangles in mels after HTK, without unit area: [N_FFT // 2 + 1, N_MELS] float64."""

    def mels(hertz: Tensor) -> Tensor:
        return 1127.0 * torch.log1p(hertz / 700.0)

    bins = mels(torch.linspace(0, SAMPLE_RATE / 2, N_FFT // 2 + 1, dtype=torch.float64))
    lowest, highest = mels(torch.tensor([LOWEST, HIGHEST], dtype=torch.float64)).tolist()
    edges = torch.linspace(lowest, highest, N_MELS + 2, dtype=torch.float64)
    rising = (bins[:, None] - edges[:-2]) / (edges[1:-1] - edges[:-2])
    falling = (edges[2:] - bins[:, None]) / (edges[2:] - edges[1:-1])
    return torch.minimum(rising, falling).clamp(min=0)


class LogMel(nn.Module):
    """Mono samples [N] at 16 kHz -> log-mel frames [T, N_MELS], T = 1 + (N - FRAME) // FRAME_HOP.

    After `mel_features` of tensorflow/models (audioset/vggish), and like it in float64: beside a
    loud tone, float32 leaves so much noise in the empty bands that the offset does not hide it.
    """

    hann: Tensor
    weights: Tensor

    def __init__(self) -> None:
        super().__init__()
        hann = torch.hann_window(FRAME, periodic=True, dtype=torch.float64)
        self.register_buffer("hann", hann, persistent=False)
        self.register_buffer("weights", mel_weights(), persistent=False)

    def forward(self, mono: Tensor) -> Tensor:
        frames = mono.double().unfold(0, FRAME, FRAME_HOP) * self.hann
        # Each frame is filled up with zeros at its end, unlike the centred window of torch.stft.
        magnitude = torch.fft.rfft(frames, n=N_FFT).abs()
        return (magnitude @ self.weights + OFFSET).log()

    def patches(self, mono: Tensor, first: int, last: int) -> Tensor:
        """Log-mel of the windows first ... last - 1 of a clip [N]: [last - first, PATCH, N_MELS].

        A window's patch is a cut from the log-mel of the whole clip, as 0.5 s are 50 frames, so
        frames that windows share are computed once.
        """
        assert 0 <= first < last <= count_windows(len(mono)), (first, last, len(mono))
        end = (last - 1) * WINDOW_HOP + WINDOW
        frames = self(mono[first * WINDOW_HOP : end])
        return frames.unfold(0, PATCH, PATCH_HOP)[: last - first].transpose(1, 2)
