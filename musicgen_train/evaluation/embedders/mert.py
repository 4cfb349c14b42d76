"""MERT-v1-95M (Li et al. 2023) as an embedder, in transformers' HubertModel.

Published with code of its own, which is not run: without its optional CQT input the model is
HuBERT-base at 24 kHz. The weights are CC-BY-NC-4.0.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.identity import folder_sha256, sha256_of, weights_digest
from musicgen_train.evaluation.embedders.mono import MONO_PROTOCOL, to_mono
from musicgen_train.evaluation.embedders.precision import full_float32
from musicgen_train.evaluation.embedders.strict_weights import fill, weights_by_name
from musicgen_train.evaluation.embedders.weights import PublishedWeights, find_weights
from musicgen_train.evaluation.embedders.windows import covering_windows
from musicgen_train.formats.files import read_json, read_pickle
from musicgen_train.formats.transformers_weights import read_weights, whole_weights

if TYPE_CHECKING:
    from transformers import HubertConfig, HubertModel

MERT_95M = PublishedWeights(
    file="mert-v1-95m.bin",
    address="https://huggingface.co/m-a-p/MERT-v1-95M/resolve/main/pytorch_model.bin",
    sha256="a2b8b747f72c06e0595aeae41ae5473f4364938c6b39b2c58be38c48e6bd3fcd",
)
OPTION = "weights.mert"
REMEDY = "get the model again"
SAMPLE_RATE = 24_000  # samples/s
WINDOW_DURATION = 10.0  # seconds, side by side
LEAST = 400  # samples that one frame sees
LAYER = 12  # of 12, as fadtk's default
FRONT_END = 1  # counts changes of what is heard of the same clip
BATCH = 8  # windows

# The mask is for training; its embedding would be random here.
_UNMASKED: dict[str, Any] = {"mask_time_prob": 0.0, "mask_feature_prob": 0.0}
_MASK = re.compile("masked_spec_embed$")
_OLD_NAMES = {"weight_g": "parametrizations.weight.original0",
              "weight_v": "parametrizations.weight.original1"}  # fmt: skip


class MertEmbedder:
    """{"vectors": [W, D]}: the mean over the frames of each window of 10 s in one layer.

    The last window ends with the clip and overlaps with the one before; a clip shorter than a
    window is heard at its own length, nothing is repeated or padded.
    """

    name = "mert"
    sample_rate = SAMPLE_RATE

    def __init__(
        self,
        model: HubertModel,
        file: str,
        sha256: str,
        layer: int = LAYER,
        device: str | torch.device = "cpu",
    ) -> None:
        layers = model.config.num_hidden_layers
        assert 0 <= layer <= layers, f"layer {layer} of {layers}"
        self._weights = weights_digest(model)
        network: Any = model
        self.model = network.to(device).eval().requires_grad_(False)
        self.file, self.sha256, self.layer = file, sha256, layer
        self.device = torch.device(device)

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] as mono at 24 kHz of mean 0 and variance 1: [N']; bad samples count as 0.

        transformers' Wav2Vec2FeatureExtractor with do_normalize, over the whole clip.
        """
        mono = to_mono(wav, sample_rate, SAMPLE_RATE)
        if not len(mono):
            return mono
        return (mono - mono.mean()) / (mono.var(correction=0) + 1e-7).sqrt()

    @torch.inference_mode()
    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Windows of 10 s, 10 s apart."""
        vectors = []
        for batch in _windows(prepared).split(BATCH):
            with full_float32(self.device):
                heard = self.model(batch.to(self.device), output_hidden_states=True)
            vectors.append(heard.hidden_states[self.layer].mean(1).float().cpu())
        return {"vectors": torch.cat(vectors)}

    def identity(self) -> str:
        """Changes with the weights, the layer and the front end."""
        shape = self.model.config.num_attention_heads, self.model.config.layer_norm_eps
        heard = [self._weights, shape, self.layer, FRONT_END, WINDOW_DURATION]
        return hashlib.sha256(json.dumps(heard).encode()).hexdigest()

    def protocol(self) -> dict[str, object]:
        """The record of every number that MERT takes part in."""
        return {
            "embedder": "mert",
            "weights": self.file,
            "weights_sha256": self.sha256,
            "layer": self.layer,
            "pooling": "mean over the window's frames",
            "sample_rate": SAMPLE_RATE,
            "window_duration": WINDOW_DURATION,
            "hop_duration": WINDOW_DURATION,
            **MONO_PROTOCOL,
            "normalisation": "mean 0, variance 1 over the clip",
            "dtype": "float32",
        }


def load_mert(
    path: Path | str | None = None,
    check: bool = True,
    layer: int = LAYER,
    device: str | torch.device = "cpu",
) -> MertEmbedder:
    """MERT from the published pytorch_model.bin, or from a folder with it and config.json.

    check=False takes any file of these sizes. UserError says what is wrong.
    """
    from transformers import HubertConfig, HubertModel

    if path is not None and Path(path).is_dir():
        folder = Path(path)
        config, state = _config(folder), read_weights(folder, "")
        weights, digest = whole_weights(folder) or folder, folder_sha256(folder)
    else:
        weights = find_weights(MERT_95M, path, OPTION, check)
        config, digest = HubertConfig(**_UNMASKED), sha256_of(weights)
        state = weights_by_name(read_pickle(weights), weights, REMEDY)
    if layer not in range(config.num_hidden_layers + 1):
        raise UserError(f"layer {layer}: {weights} has layers 0 to {config.num_hidden_layers}")
    model = HubertModel(config)
    renamed = {_new_name(name): tensor for name, tensor in state.items()}
    fill(model, renamed, weights, REMEDY, _MASK)
    return MertEmbedder(model, weights.name, digest, layer, device)


def _windows(prepared: Tensor) -> Tensor:
    """[N] -> [W, window], or [1, N] of a shorter clip."""
    size = int(WINDOW_DURATION * SAMPLE_RATE)
    if len(prepared) <= size:
        return F.pad(prepared, (0, max(0, LEAST - len(prepared))))[None]
    return covering_windows(prepared, size, size)


def _config(folder: Path) -> HubertConfig:
    """HuBERT's part of a MERT config; UserError for a MERT that is more than HuBERT."""
    from transformers import HubertConfig

    said = read_json(folder / "config.json")
    if not isinstance(said, dict) or said.get("model_type") not in ("mert_model", "hubert"):
        raise UserError(f"{folder} holds no MERT: give the folder of m-a-p/MERT-v1-95M")
    for name in ("feature_extractor_cqt", "deepnorm"):
        if said.get(name):
            raise UserError(
                f"{folder}/config.json says {name}, which needs MERT's own code: give "
                "MERT-v1-95M, which does without"
            )
    front = folder / "preprocessor_config.json"
    normalised = read_json(front).get("do_normalize", True) if front.is_file() else True
    if said.get("sample_rate", SAMPLE_RATE) != SAMPLE_RATE or not normalised:
        raise UserError(f"{folder} hears other than MERT-v1-95M (24 kHz, variance 1): give that")
    known = HubertConfig().to_dict().keys() - {"model_type"}
    try:
        sizes = {name: value for name, value in said.items() if name in known}
        return HubertConfig(**{**sizes, **_UNMASKED})
    except Exception as error:  # whatever transformers says of a stranger's sizes
        raise UserError(f"{folder}/config.json describes no MERT ({error}): get it again") from None


def _new_name(name: str) -> str:
    """A weight's name since torch's weight_norm became a parametrisation."""
    start, _, end = name.rpartition(".")
    return f"{start}.{_OLD_NAMES[end]}" if end in _OLD_NAMES else name
