"""EnCodec in audiocraft's layout: `compression_state_dict.bin`, whole or as a pointer."""

import re
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.layers import ConvTranspose1d
from musicgen_train.errors import UserError
from musicgen_train.formats.audiocraft_config import (
    PLACES,
    codec_config_from_audiocraft,
    codec_config_to_audiocraft,
)
from musicgen_train.formats.codec_building import build_codec
from musicgen_train.formats.files import brief, read_pickle, to_plain, write_pickle
from musicgen_train.formats.hub import HUB_ID, fetch_codec
from musicgen_train.formats.transformers_codec import read_transformers_codec
from musicgen_train.formats.xp_config import XpConfig

FILE_NAME = "compression_state_dict.bin"
VERSION = "1.3.0"  # the audiocraft whose layout is written

_RENAMES = (
    (r"^(encoder|decoder)\.model\.", r"\1.layers."),
    (r"\.(conv|convtr)\.\1\.", ".conv."),
    (r"\.(conv|convtr)\.norm\.", ".norm."),
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
    (r"^quantizer\.vq\.layers\.(\d+)\._codebook\.", r"quantizer.layers.\1.codebook."),
)
_RENAMES_BACK = (
    (r"^(encoder|decoder)\.layers\.", r"\1.model."),
    (r"\.parametrizations\.weight\.original0$", ".weight_g"),
    (r"\.parametrizations\.weight\.original1$", ".weight_v"),
    (r"^quantizer\.layers\.(\d+)\.codebook\.", r"quantizer.vq.layers.\1._codebook."),
)


def read_audiocraft_codec(path: Path) -> Encodec:
    """Load `compression_state_dict.bin`, or the transformers codec that it points to."""
    content = read_pickle(path)
    if not isinstance(content, dict):
        raise UserError(f"{path} is no audiocraft codec: its content is no mapping")
    if "pretrained" in content:
        return _follow(content["pretrained"], path)
    state = content.get("best_state")
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise UserError(f"{path} is no audiocraft codec: best_state is missing or not flat")
    config = codec_config_from_audiocraft(XpConfig(content.get("xp.cfg"), path))
    return build_codec(config, codec_state_from_audiocraft(state), path, PLACES)


def save_audiocraft_codec(codec: Encodec, folder: str | Path) -> Path:
    """Write a codec as audiocraft exports it; an option it cannot hold is a `UserError`."""
    content = {
        "best_state": codec_state_to_audiocraft(codec),
        "xp.cfg": yaml.safe_dump(codec_config_to_audiocraft(codec), sort_keys=False),
        "version": VERSION,
        "exported": True,
    }
    write_pickle(content, Path(folder) / FILE_NAME)
    return Path(folder)


def save_audiocraft_pointer(name: str, folder: str | Path) -> Path:
    """Write the short form, which names a transformers codec of the hub and holds no weights."""
    if not HUB_ID.fullmatch(name):
        raise UserError(f"{name!r} is no codec of the hub: name it like facebook/encodec_32khz")
    content = {"pretrained": name, "exported": True, "version": VERSION}
    write_pickle(content, Path(folder) / FILE_NAME)
    return Path(folder)


def codec_state_from_audiocraft(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """Rename audiocraft's EnCodec state dict to `Encodec`'s; tensors are shared, not copied."""
    renamed = {}
    for name, tensor in state.items():
        for pattern, replacement in _RENAMES:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def codec_state_to_audiocraft(codec: Encodec) -> dict[str, Tensor]:
    """Copy `Encodec`'s state dict under audiocraft's names."""
    transposed = {name for name, m in codec.named_modules() if isinstance(m, ConvTranspose1d)}
    renamed = {}
    for name, tensor in to_plain(codec.state_dict()).items():
        if match := re.fullmatch(r"(.+)\.(conv|norm)\.(.+)", name):
            kind = "convtr" if match[1] in transposed else "conv"
            inner = "norm" if match[2] == "norm" else kind
            name = f"{match[1]}.{kind}.{inner}.{match[3]}"
        for pattern, replacement in _RENAMES_BACK:
            name = re.sub(pattern, replacement, name)
        renamed[name] = tensor
    return renamed


def _follow(name: Any, path: Path) -> Encodec:
    """Load the codec of the hub that a pointer names, from beside the pointer if it is there."""
    if not isinstance(name, str) or not HUB_ID.fullmatch(name):
        raise UserError(f"{path} points to {brief(name)}, which is no EnCodec of the hub")
    beside = path.parent / name.split("/")[1]
    for folder in (beside, Path(name)):
        if (folder / "config.json").is_file():
            return read_transformers_codec(folder)
    return read_transformers_codec(fetch_codec(name, place=str(beside)))
