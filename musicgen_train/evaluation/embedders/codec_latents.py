"""The latents of a codec as an embedding: what its encoder makes of each second."""

from __future__ import annotations

import hashlib

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.data.audio import resample, to_channels
from musicgen_train.evaluation.embedders.mono import finite
from musicgen_train.evaluation.embedders.precision import full_float32

WINDOW_DURATION = 1.0  # seconds whose frames are averaged
FRONT_END = 1  # to be raised when the same samples give other numbers
BLOCK_DURATION = 10.0  # seconds that are encoded at once


class CodecEmbedder:
    """Mean latent of each second before quantisation: {"vectors": [W, D]}.

    Compares only among clips of systems with this very codec: a distance to real music here says
    what the language model lacks, the codec's own loss left out.
    """

    name = "codec"

    def __init__(self, codec: Encodec, device: str | torch.device = "cpu") -> None:
        self.codec = codec.to(device).eval()
        self.sample_rate = codec.sample_rate
        self.device = torch.device(device)
        self._identity = codec.identity()  # of all weights, which takes a while

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] at the codec's rate and channels, all channels in a row: [C' N']."""
        wav = resample(finite(wav), sample_rate, self.sample_rate)
        return to_channels(wav, self.codec.channels).flatten()

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Means over whole seconds; a shorter rest is left out, a shorter clip is one window."""
        wav = prepared.reshape(1, self.codec.channels, -1).to(self.device)
        frames = round(WINDOW_DURATION * self.codec.frame_rate)
        vectors = []
        for block in wav.split(round(BLOCK_DURATION * self.sample_rate), -1):
            with full_float32(self.device):
                latent = self.codec.encoder(block)[0]  # [D, T]
            whole = latent.shape[-1] // frames * frames
            if not whole and not vectors:
                vectors.append(latent.mean(-1, keepdim=True).T)
            vectors.append(latent[:, :whole].unflatten(-1, (-1, frames)).mean(-1).T)
        return {"vectors": torch.cat(vectors).float().cpu()}

    def identity(self) -> str:
        """Changes with the codec, the window and the front end."""
        said = f"{self._identity} {WINDOW_DURATION} {FRONT_END}"
        return hashlib.sha256(said.encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """Which codec, and which windows."""
        return {
            "embedder": f"codec {self._identity}",
            "sample_rate": self.sample_rate,
            "window_duration": WINDOW_DURATION,
            "hop_duration": WINDOW_DURATION,
            "channels": self.codec.channels,
            "resampler": "soxr HQ",
            "normalisation": "none",
            "layer": "encoder output, mean over the window",
        }
