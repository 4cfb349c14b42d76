"""LAION's CLAP checkpoints (HTSAT without fusion, RoBERTa) as transformers' ClapModel.

Names and shapes as in laion_clap 1.1.7 and in transformers' conversion of its checkpoints.
"""

from __future__ import annotations

import re
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.strict_weights import fill, weights_by_name
from musicgen_train.formats.files import read_pickle

if TYPE_CHECKING:
    from transformers import ClapConfig, ClapModel

# The front end (which `clap_features` computes), heads of the training, masks made from the sizes.
_UNUSED = re.compile(
    r"(audio_branch\.(spectrogram_extractor|logmel_extractor|head|tscam_conv)"
    r"|text_transform|audio_transform)\.|.*\.(attn_mask|relative_position_index)$"
    r"|text_branch\.embeddings\.(position_ids|token_type_ids)$"
)
# Buffers that a ClapModel makes from its sizes.
MADE = re.compile(r".*\.(relative_position_index|position_ids|token_type_ids)$")

_RENAMED = (
    (r"^text_branch\.", "text_model."),
    (r"^audio_branch\.bn0\.", "audio_model.audio_encoder.batch_norm."),
    (r"^audio_branch\.", "audio_model.audio_encoder."),
    (r"^(audio|text)_projection\.0\.", r"\1_projection.linear1."),
    (r"^(audio|text)_projection\.2\.", r"\1_projection.linear2."),
    (r"\.attn\.proj\.", ".attention.output.dense."),
    (r"\.attn\.", ".attention.self."),
    (r"(\.blocks\.\d+)\.norm1\.", r"\1.layernorm_before."),
    (r"(\.blocks\.\d+)\.norm2\.", r"\1.layernorm_after."),
    (r"\.mlp\.fc1\.", ".intermediate.dense."),
    (r"\.mlp\.fc2\.", ".output.dense."),
)
_HEAD_WIDTH = 64  # of every RoBERTa; the checkpoint does not tell


def load_laion(path: Path) -> ClapModel:
    """The model of a LAION checkpoint; UserError if it is of another kind or incomplete."""
    from transformers import ClapModel

    state = read_laion(path)
    model = ClapModel(laion_config(state, path))
    fill(model, to_transformers(state), path, "get the model again", MADE)
    return model


def read_laion(path: Path) -> dict[str, Tensor]:
    """The weights of a checkpoint under their names in laion_clap."""
    # The file also holds the optimizer's state, twice the weights, which stays on disk.
    content = read_pickle(path, mapped=zipfile.is_zipfile(path), numpy_scalars=True)
    if isinstance(content, dict):
        content = content.get("state_dict", content)
    weights = weights_by_name(content, path, "get LAION's CLAP again")
    state = {name.removeprefix("module."): tensor for name, tensor in weights.items()}
    if (
        "audio_branch.patch_embed.proj.weight" not in state
        or "audio_projection.0.bias" not in state
    ):
        raise UserError(f"{path} is no CLAP with HTSAT of LAION: give its .pt file")
    if any(".fusion_model." in name or ".mel_conv2d." in name for name in state):
        raise UserError(
            f"{path} is a CLAP with fusion, which hears random crops: give one without fusion, "
            "such as music_audioset_epoch_15_esc_90.14.pt"
        )
    return state


def laion_config(state: Mapping[str, Tensor], path: Path) -> ClapConfig:
    """Sizes (HTSAT-tiny, -base, ...) as the shapes tell them."""
    from transformers import ClapConfig

    try:
        audio = _audio_sizes(state)
        text = _text_sizes(state)
    except KeyError as error:
        raise UserError(f"{path} lacks {error}: get the checkpoint again") from None
    dimension = state["audio_projection.0.bias"].shape[0]
    return ClapConfig(text_config=text, audio_config=audio, projection_dim=dimension)


def to_transformers(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Weights under their names in ClapModel; what it has no use for is left out."""
    renamed: dict[str, Tensor] = {}
    for name, tensor in state.items():
        if _UNUSED.match(name):
            continue
        for pattern, replacement in _RENAMED:
            name = re.sub(pattern, replacement, name)
        if ".self.qkv." in name:
            for part, third in zip(("query", "key", "value"), tensor.chunk(3), strict=True):
                renamed[name.replace("qkv", part)] = third
        else:
            renamed[name] = tensor
    return renamed


def _audio_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    patches = state["audio_branch.patch_embed.proj.weight"]  # [width, 1, side, side]
    depths = _counts(state, r"audio_branch\.layers\.(\d+)\.blocks\.(\d+)\.norm1\.weight")
    tables = [
        state[f"audio_branch.layers.{i}.blocks.0.attn.relative_position_bias_table"]
        for i in range(len(depths))
    ]  # each [(2 * window - 1) ** 2, heads]
    width = patches.shape[0]
    return {
        "patch_embeds_hidden_size": width,
        "patch_size": patches.shape[-1],
        "patch_stride": [patches.shape[-1], patches.shape[-1]],
        "depths": depths,
        "num_attention_heads": [table.shape[1] for table in tables],
        "window_size": (round(tables[0].shape[0] ** 0.5) + 1) // 2,
        "hidden_size": width * 2 ** (len(depths) - 1),
        "num_mel_bins": state["audio_branch.bn0.weight"].shape[0],
    }


def _text_sizes(state: Mapping[str, Tensor]) -> dict[str, Any]:
    vocabulary, width = state["text_branch.embeddings.word_embeddings.weight"].shape
    layers = _counts(state, r"text_branch\.encoder\.(layer)\.(\d+)\.output\.dense\.bias")
    return {
        "vocab_size": vocabulary,
        "hidden_size": width,
        "num_hidden_layers": layers[0],
        "num_attention_heads": max(1, width // _HEAD_WIDTH),
        "intermediate_size": len(state["text_branch.encoder.layer.0.intermediate.dense.bias"]),
        "max_position_embeddings": len(state["text_branch.embeddings.position_embeddings.weight"]),
        "type_vocab_size": len(state["text_branch.embeddings.token_type_embeddings.weight"]),
        # transformers' default for CLAP is 1e-12, but LAION trained inside RoBERTa.
        "layer_norm_eps": 1e-5,
    }


def _counts(state: Mapping[str, Tensor], pattern: str) -> list[int]:
    """How many second numbers there are for each first group of a pattern's matches."""
    found: dict[str, int] = {}
    for name in state:
        if match := re.fullmatch(pattern, name):
            found[match[1]] = found.get(match[1], 0) + 1
    if not found:
        raise KeyError(pattern.replace("\\", ""))
    return [found[key] for key in sorted(found, key=lambda key: (len(key), key))]
