"""The chroma of a clip, heard and kept as embedders' vectors are."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.data.audio import resample


class ChromaEmbedder:
    """Dense chroma of the whole mix: {"chroma": [F, 12]}, each frame divided by its largest bin."""

    name = "chroma"

    def __init__(self, extractor: ChromaExtractor, device: str | torch.device = "cpu") -> None:
        self.extractor = extractor.to(device)
        self.sample_rate = extractor.sample_rate
        self.device = torch.device(device)

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Mean of the channels at the extractor's rate: [C, N] -> [N']."""
        return resample(torch.nan_to_num(wav.float()).mean(0), sample_rate, self.sample_rate)

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Chroma of samples [N']."""
        return {"chroma": self.extractor(prepared.to(self.device)[None, None])[0].cpu()}

    def identity(self) -> str:
        """Changes with the extractor's settings."""
        said = json.dumps(self.protocol(), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """Rate, window and hop in samples."""
        return {
            "embedder": "chroma",
            **self.extractor.config,
            "channels": "mean",
            "resampler": "soxr HQ",
        }
