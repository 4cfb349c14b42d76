"""EnCodec in audiocraft's layout: `compression_state_dict.bin`, whole or as a pointer."""

import re
from pathlib import Path
from typing import Any

import yaml
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.layers import ConvTranspose1d
from musicgen_train.errors import UserError
from musicgen_train.formats.codec_building import build_codec, check_exportable
from musicgen_train.formats.files import read_pickle, to_plain, write_pickle
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
# What Encodec calls an option, and where audiocraft keeps it.
_PLACES = {
    "sample_rate": "encodec.sample_rate",
    "channels": "encodec.channels",
    "normalize": "encodec.renormalize",
    **{
        name: f"seanet.{name}"
        for name in (
            "dimension", "n_filters", "n_residual_layers", "ratios", "kernel_size",
            "residual_kernel_size", "last_kernel_size", "dilation_base", "pad_mode", "compress",
            "lstm", "causal", "norm",
        )
    },
    "skip": "seanet.true_skip",
    "trim_right_ratio": "seanet.decoder.trim_right_ratio",
    "n_q": "rvq.n_q",
    "card": "rvq.bins",
    "quantizer_dropout": "rvq.q_dropout",
    "decay": "rvq.decay",
    "dead_code_threshold": "rvq.threshold_ema_dead_code",
}  # fmt: skip
_NORMS = {"weight_norm": "weight", "time_group_norm": "group", "none": "none"}
_SKIPS = {True: "identity", False: "conv"}
# Options of which only one value is known here; it is also audiocraft's own default.
_ONLY = {
    "compression_model": "encodec",
    "encodec.autoencoder": "seanet",
    "encodec.quantizer": "rvq",
    "seanet.activation": "ELU",
    "seanet.activation_params": {"alpha": 1.0},
    "seanet.norm_params": {},
    "seanet.disable_norm_outer_blocks": 0,
    "seanet.encoder": {},
    "seanet.decoder.final_activation": None,
    "rvq.orthogonal_reg_weight": 0.0,
}
# What audiocraft takes where nothing is written; the other options are always there.
_DEFAULTS = {
    "normalize": False,
    "quantizer_dropout": False,
    "decay": 0.99,
    "dead_code_threshold": 2,
}
# Options that change no number of a codec whose codebooks have started.
_IDLE = {
    "encodec.causal", "encodec.renorm", "seanet.channels", "seanet.decoder.final_activation_params",
    "rvq.kmeans_init", "rvq.kmeans_iters", "rvq.orthogonal_reg_active_codes_only",
    "rvq.orthogonal_reg_max_codes",
}  # fmt: skip


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
    return build_codec(config, codec_state_from_audiocraft(state), path, _PLACES)


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


def codec_config_from_audiocraft(xp: XpConfig) -> dict[str, Any]:
    """`Encodec`'s arguments; an option that is unknown here is a `UserError`, never ignored."""
    for key, value in _ONLY.items():
        if xp.get(key, value) != value:
            raise UserError(f"{xp.source}: {key} is {xp[key]!r}, but only {value!r} is supported")
    known = {*_PLACES.values(), *_ONLY, *_IDLE, "seanet.decoder"}
    for section in ("encodec", "seanet", "seanet.decoder", "rvq"):
        for key in sorted(f"{section}.{name}" for name in xp.names(section)):
            if key not in known:
                raise UserError(f"{xp.source}: the option {key} of xp.cfg is not supported")
    config = {
        name: xp.get(place, _DEFAULTS[name]) if name in _DEFAULTS else xp[place]
        for name, place in _PLACES.items()
    }
    if xp.get("seanet.channels", config["channels"]) != config["channels"]:
        raise UserError(f"{xp.source}: seanet.channels is not encodec.channels")
    for name, values in (("norm", _NORMS), ("skip", _SKIPS)):
        value = config[name]
        if type(value) not in (bool, str) or value not in values:
            choice = ", ".join(map(str, values))
            raise UserError(f"{xp.source}: {_PLACES[name]} is {value!r}: only {choice} are known")
        config[name] = values[value]
    return config


def codec_config_to_audiocraft(codec: Encodec) -> dict[str, Any]:
    """The part of audiocraft's configuration that builds this codec."""
    check_exportable(codec)
    config = dict(codec.config)
    if config["chunk_duration"] or config["chunk_overlap"]:
        raise UserError("audiocraft has no codec that works in chunks: export to transformers")
    if config["causal"] and config["normalize"]:
        raise UserError("audiocraft refuses a causal codec that normalises: export to transformers")
    config["norm"] = next(theirs for theirs, ours in _NORMS.items() if ours == config["norm"])
    config["skip"] = config["skip"] == "identity"
    values = {
        "sample_rate": config["sample_rate"],
        "channels": config["channels"],
        **{place: config[name] for name, place in _PLACES.items()},
        **_ONLY,
        "encodec.causal": config["causal"],
        "seanet.channels": config["channels"],
        "seanet.decoder.final_activation_params": None,
        "rvq.kmeans_init": True,
        "rvq.kmeans_iters": 50,
        "rvq.orthogonal_reg_active_codes_only": False,
    }
    tree: dict[str, Any] = {}
    for place, value in values.items():
        *sections, name = place.split(".")
        node = tree
        for section in sections:
            node = node.setdefault(section, {})
        node[name] = value
    return tree


def _follow(name: Any, path: Path) -> Encodec:
    """Load the codec of the hub that a pointer names, from beside the pointer if it is there."""
    if not isinstance(name, str) or not HUB_ID.fullmatch(name):
        raise UserError(f"{path} points to {name!r}, which is no EnCodec of the hub")
    beside = path.parent / name.split("/")[1]
    for folder in (beside, Path(name)):
        if (folder / "config.json").is_file():
            return read_transformers_codec(folder)
    return read_transformers_codec(fetch_codec(name, place=str(beside)))
