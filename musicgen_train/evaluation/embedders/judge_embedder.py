"""The judge as an embedder among others."""

from __future__ import annotations

import hashlib
import json

import torch
from torch import Tensor

from musicgen_train.evaluation.embedders.judge import Judge, judge_identity
from musicgen_train.evaluation.embedders.judge_features import (
    HOP_DURATION,
    SAMPLE_RATE,
    WINDOW_DURATION,
    normalise,
    windows,
)
from musicgen_train.evaluation.embedders.levels import MAX_GAIN, TARGET_RMS
from musicgen_train.evaluation.embedders.mono import MONO_PROTOCOL
from musicgen_train.evaluation.embedders.precision import full_float32

STYLE_HEADS = ("instrument", "genre", "tempo")  # what a text asks for; the key is free
BATCH = 64  # windows
FRONT_END = 1  # to be raised when the same samples give other numbers


class JudgeEmbedder:
    """{"vectors": [W, D]} and {"logits.HEAD": [W, labels]} of each style head."""

    name = "judge"
    sample_rate = SAMPLE_RATE

    def __init__(self, judge: Judge, device: str | torch.device = "cpu") -> None:
        self.judge = judge.to(device).eval()
        self.device = torch.device(device)
        self._identity = judge_identity(judge)

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] as mono at the judge's rate and level: [N']."""
        return normalise(wav, sample_rate)

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Windows of 4 s, 1 s apart."""
        heard: dict[str, list[Tensor]] = {}
        for batch in windows(prepared).split(BATCH):
            with full_float32(self.device):
                vectors, logits = self.judge(batch.to(self.device))
            named = {"vectors": vectors} | {f"logits.{h}": logits[h] for h in STYLE_HEADS}
            for name, values in named.items():
                heard.setdefault(name, []).append(values.cpu())
        return {name: torch.cat(parts) for name, parts in heard.items()}

    def identity(self) -> str:
        """Changes with the judge's weights, the windows, the level and the front end."""
        said = json.dumps([FRONT_END, self.protocol()])
        return hashlib.sha256(said.encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """The record of every number that the judge takes part in."""
        return {
            "embedder": f"judge {self._identity}",
            "sample_rate": SAMPLE_RATE,
            "window_duration": WINDOW_DURATION,
            "hop_duration": HOP_DURATION,
            **MONO_PROTOCOL,
            "normalisation": f"RMS {TARGET_RMS} over the clip, gain at most {MAX_GAIN}",
        }
