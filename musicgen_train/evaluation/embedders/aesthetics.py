"""Audiobox Aesthetics (Tjandra et al. 2025): four scores of how a clip pleases, on a scale to 10.

An extra (`pip install 'musicgen_train[aesthetics]'`); code and weights are CC-BY-4.0. Only its
model takes part: its reading of files needs libraries that no longer exist.
"""

from __future__ import annotations

import hashlib
import json
from contextlib import redirect_stdout
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.errors import UserError, reason_of
from musicgen_train.evaluation.embedders.identity import sha256_of, weights_digest
from musicgen_train.evaluation.embedders.mono import MONO_PROTOCOL, to_mono
from musicgen_train.evaluation.embedders.precision import full_float32
from musicgen_train.formats.hub import fetch_files

HUB_NAME = "facebook/audiobox-aesthetics"
# Content enjoyment, content usefulness, production complexity, production quality.
AXES = ("CE", "CU", "PC", "PQ")
SAMPLE_RATE = 16_000  # samples/s
WINDOW_DURATION = 10.0  # seconds, side by side
FRONT_END = 1  # counts changes of what is heard of the same clip
BATCH = 8  # windows
_FILES = ("config.json", "model.safetensors")


class AestheticsEmbedder:
    """{"scores": [W, 4]} in the order of AXES and {"weights": [W]}, the shares of whole windows.

    The score of a clip is the mean by these weights, as in the package: its last window is shorter
    and counts less.
    """

    name = "aesthetics"
    sample_rate = SAMPLE_RATE

    def __init__(self, model: Any, sha256: str, device: str | torch.device = "cpu") -> None:
        self._weights = weights_digest(model)
        self._scale = model.target_transform
        self.model = model.to(device).eval().requires_grad_(False)
        self.sha256 = sha256
        self.device = torch.device(device)

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] as the mean of its channels at 16 kHz: [N']; bad samples count as 0."""
        return to_mono(wav, sample_rate, SAMPLE_RATE)

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Windows of 10 s, 10 s apart; the last is filled with silence that does not count."""
        size = int(WINDOW_DURATION * SAMPLE_RATE)
        parts = (prepared if len(prepared) else prepared.new_zeros(1)).split(size)
        lengths = torch.tensor([len(part) for part in parts])
        wavs = torch.stack([F.pad(part, (0, size - len(part))) for part in parts])
        real = torch.arange(size) < lengths[:, None]  # [W, size]
        scores = [
            self._scores(wav, mask)
            for wav, mask in zip(wavs.split(BATCH), real.split(BATCH), strict=True)
        ]
        return {"scores": torch.cat(scores), "weights": lengths / size}

    def identity(self) -> str:
        """Changes with the weights, the scale and the front end."""
        heard = [self._weights, self._scale, FRONT_END, WINDOW_DURATION]
        return hashlib.sha256(json.dumps(heard, sort_keys=True).encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """The record of every number that these scores take part in."""
        return {
            "embedder": "aesthetics",
            "weights": HUB_NAME,
            "weights_sha256": self.sha256,
            "sample_rate": SAMPLE_RATE,
            "window_duration": WINDOW_DURATION,
            "hop_duration": WINDOW_DURATION,
            "short_windows": "silence, masked; mean over windows by length",
            **MONO_PROTOCOL,
            "normalisation": "none",
            "dtype": "float32",
        }

    def _scores(self, wav: Tensor, mask: Tensor) -> Tensor:
        """Windows and their masks, both [B, size] -> [B, 4]."""
        batch = {"wav": wav[:, None].to(self.device), "mask": mask[:, None].to(self.device)}
        with full_float32(self.device):
            said = self.model(batch)
        scaled = [said[a] * self._scale[a]["std"] + self._scale[a]["mean"] for a in AXES]
        return torch.stack(scaled, -1).float().cpu()


def load_aesthetics(
    path: Path | str | None = None, device: str | torch.device = "cpu"
) -> AestheticsEmbedder:
    """The published model, from a folder with config.json and model.safetensors or the hub's cache.

    UserError says which package or files are missing.
    """
    try:
        from audiobox_aesthetics.model.aes import (  # pyright: ignore[reportMissingImports]
            AesMultiOutput,
        )
    except ImportError:
        raise UserError(
            "aesthetics needs the package audiobox_aesthetics: pip install "
            "'musicgen_train[aesthetics]'"
        ) from None
    folder = Path(path) if path is not None else _fetch()
    if not _is_whole(folder):
        raise UserError(f"{folder} lacks config.json or model.safetensors: get both of {HUB_NAME}")
    try:
        with redirect_stdout(StringIO()):  # the hub's library prints what it does
            model = AesMultiOutput.from_pretrained(folder, strict=True)
    except Exception as error:  # whatever it stumbles over in a stranger's files
        raise UserError(
            f"{folder} holds no audiobox aesthetics ({reason_of(error)}): get it again"
        ) from None
    scale = model.target_transform
    if not isinstance(scale, dict) or not all({"mean", "std"} <= {*scale.get(a, ())} for a in AXES):
        raise UserError(f"{folder}/config.json tells no scale of {', '.join(AXES)}: get it again")
    return AestheticsEmbedder(model, sha256_of(folder / "model.safetensors"), device)


def _fetch() -> Path:
    folder, reason = fetch_files((HUB_NAME,), [_FILES], _is_whole)
    if folder is None:
        raise UserError(
            f"{HUB_NAME} is not in the hub's cache and cannot be downloaded ({reason}): put its "
            "config.json and model.safetensors into a folder and give weights.aesthetics=FOLDER"
        )
    return folder


def _is_whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in _FILES)
