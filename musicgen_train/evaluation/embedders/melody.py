"""The chroma of a clip, heard and kept as embedders' vectors are."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.evaluation.embedders.mono import MONO_PROTOCOL, to_mono

SILENCE_RMS = 1e-3  # -60 dBFS


class ChromaEmbedder:
    """Dense chroma of the whole mix: {"chroma": [F, 12]}, each frame divided by its largest bin.

    Frames below -60 dBFS are zeros, for noise that nobody hears has pitch classes too; compat: as
    the extractor gives them.
    """

    name = "chroma"

    def __init__(
        self,
        extractor: ChromaExtractor,
        device: str | torch.device = "cpu",
        compat: bool = False,
    ) -> None:
        self.compat = compat
        self.extractor = extractor.to(device)
        self.sample_rate = extractor.sample_rate
        self.device = torch.device(device)

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """Mean of the channels at the extractor's rate: [C, N] -> [N']."""
        return to_mono(wav, sample_rate, self.sample_rate)

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Chroma of samples [N']."""
        chroma = self.extractor(prepared.to(self.device)[None, None])[0].cpu()
        if not self.compat:
            chroma[self._power(prepared, len(chroma)) < SILENCE_RMS**2] = 0
        return {"chroma": chroma}

    def _power(self, mono: Tensor, n_frames: int) -> Tensor:
        """Mean square of the samples [N'] that each frame looks at: [F]."""
        window, hop = self.extractor.window, self.extractor.hop
        missing = max(0, window - len(mono))
        square = F.pad(mono.square(), (missing // 2, missing - missing // 2))
        square = F.pad(square, (window // 2, window // 2))
        return F.avg_pool1d(square[None, None], window, hop)[0, 0, :n_frames]

    def identity(self) -> str:
        """Changes with the extractor's settings."""
        said = json.dumps(self.protocol(), sort_keys=True)
        return hashlib.sha256(said.encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """Rate, window and hop in samples."""
        return {
            "embedder": "chroma",
            **self.extractor.config,
            "silence": "as it is" if self.compat else "frames below -60 dBFS are 0",
            **MONO_PROTOCOL,
        }
