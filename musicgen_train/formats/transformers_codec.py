"""EnCodec in transformers' layout: the folder of an `EncodecModel`, or of a MusicGen around one."""

import math
from pathlib import Path
from typing import Any

from torch import Tensor

from musicgen_train.codec.encodec import TRAINING_ONLY, Encodec
from musicgen_train.errors import UserError
from musicgen_train.formats.codec_building import (
    build_codec,
    check_codec_config,
    check_exportable,
)
from musicgen_train.formats.files import read_json, write_json, write_tensors
from musicgen_train.formats.silent_lstm import add_silent_lstm, drop_silent_lstm
from musicgen_train.formats.transformers_weights import read_weights

# What transformers calls an option: what Encodec calls it, and the default of `EncodecConfig`.
_OPTIONS: dict[str, tuple[str, Any]] = {
    "sampling_rate": ("sample_rate", 24000),
    "audio_channels": ("channels", 1),
    "normalize": ("normalize", False),
    "chunk_length_s": ("chunk_duration", None),
    "overlap": ("chunk_overlap", None),
    "hidden_size": ("dimension", 128),
    "num_filters": ("n_filters", 32),
    "num_residual_layers": ("n_residual_layers", 1),
    "upsampling_ratios": ("ratios", [8, 5, 4, 2]),
    "norm_type": ("norm", "weight_norm"),
    "kernel_size": ("kernel_size", 7),
    "last_kernel_size": ("last_kernel_size", 7),
    "residual_kernel_size": ("residual_kernel_size", 3),
    "dilation_growth_rate": ("dilation_base", 2),
    "use_causal_conv": ("causal", True),
    "pad_mode": ("pad_mode", "reflect"),
    "compress": ("compress", 2),
    "num_lstm_layers": ("lstm", 2),
    "trim_right_ratio": ("trim_right_ratio", 1.0),
    "codebook_size": ("card", 1024),
    "use_conv_shortcut": ("skip", True),
}
_NAMES = {ours: theirs for theirs, (ours, _) in _OPTIONS.items()}
_NAMES["n_q"] = "the number of codebooks by target_bandwidths"
_BANDWIDTHS = [1.5, 3.0, 6.0, 12.0, 24.0]
_NORMS = {"weight_norm": "weight", "time_group_norm": "group"}
_OWN = "musicgen_train"  # a key for training options, which transformers carries along unread
_SILENT = "silent_lstm"  # among them: that the LSTM is only there because transformers wants one


def read_transformers_codec(folder: Path) -> Encodec:
    """Load the codec of an `EncodecModel` or MusicGen folder; old pickles are read too."""
    path = folder / "config.json"
    config, prefix = read_json(path), ""
    if isinstance(config, dict) and config.get("model_type") in ("musicgen", "musicgen_melody"):
        config, prefix = config.get("audio_encoder"), "audio_encoder."
    found = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(config, dict) or found != "encodec":
        raise UserError(f"{path} describes model_type {found!r}: only encodec codecs can be loaded")
    weights = read_weights(folder, prefix)
    arguments = config_from_transformers(config, path)
    if arguments["lstm"] == 0:
        check_codec_config(arguments, path, _NAMES)
        weights = drop_silent_lstm(weights, arguments, path)
    return build_codec(arguments, weights, path, _NAMES)


def save_transformers_codec(codec: Encodec, folder: str | Path) -> Path:
    """Write the folder that `EncodecModel.from_pretrained` and `AutoProcessor` load.

    Options of the codec that transformers cannot hold are a `UserError`.
    """
    folder = Path(folder)
    config = config_to_transformers(codec)
    extractor = {
        "feature_extractor_type": "EncodecFeatureExtractor",
        "feature_size": config["audio_channels"],
        "sampling_rate": config["sampling_rate"],
        "chunk_length_s": config["chunk_length_s"],
        "overlap": config["overlap"],
        "padding_side": "right",
        "padding_value": 0.0,
        "return_attention_mask": True,
    }
    write_tensors(codec_state_to_transformers(codec), folder / "model.safetensors")
    write_json(extractor, folder / "preprocessor_config.json")
    write_json(config, folder / "config.json")
    return folder


def codec_state_to_transformers(codec: Encodec) -> dict[str, Tensor]:
    """The codec's tensors; where it has no LSTM, with the silent one that transformers wants."""
    state = codec.state_dict()
    return state if codec.config["lstm"] else add_silent_lstm(state, codec.config)


def bandwidths(codec: Encodec) -> list[float]:
    """kbit/s of the numbers of codebooks that a codec is meant to be used with, ascending.

    With quantizer dropout these are 2, 4, 8, …, n_q codebooks, as in the released models; without
    it the only one is n_q. Any other number is this project's to choose, not transformers'.
    """
    counts = [codec.n_q]
    if codec.config["quantizer_dropout"]:
        counts = [2**i for i in range(1, 11) if 2**i < codec.n_q] + counts
    bits = _bits_per_codebook(codec.sample_rate, codec.hop_length, codec.card)
    rates = []
    for n_q in counts:
        rate = n_q * bits / 1000
        while int(1000 * rate // bits) < n_q or math.floor(rate * 1000 / bits) < n_q:
            rate = math.nextafter(rate, math.inf)  # rounding must not cost a codebook
        rates.append(rate)
    return rates


def _bits_per_codebook(sample_rate: int, hop_length: int, card: int) -> int:
    """Bits a second as transformers counts them: whole frames, whole bits."""
    return math.ceil(sample_rate / hop_length) * math.ceil(math.log2(card))


def config_from_transformers(config: dict[str, Any], path: Path) -> dict[str, Any]:
    """`Encodec`'s arguments from the content of a transformers config.json."""
    values = {theirs: config.get(theirs, default) for theirs, (_, default) in _OPTIONS.items()}
    if config.get("codebook_dim") not in (None, values["hidden_size"]):
        raise UserError(f"{path}: codebook_dim is not hidden_size: that is not supported")
    norm = values["norm_type"]
    if not isinstance(norm, str) or norm not in _NORMS:
        raise UserError(f"{path}: norm_type is {norm!r}, but should be one of {list(_NORMS)}")
    if type(values["use_conv_shortcut"]) is not bool:
        raise UserError(f"{path}: use_conv_shortcut is neither true nor false")
    values["norm_type"] = _NORMS[norm]
    values["use_conv_shortcut"] = "conv" if values["use_conv_shortcut"] else "identity"
    values["overlap"] = values["overlap"] or 0.0
    arguments = {ours: values[theirs] for theirs, (ours, _) in _OPTIONS.items()}
    rates = config.get("target_bandwidths", _BANDWIDTHS)
    arguments["quantizer_dropout"] = isinstance(rates, list) and len(rates) > 1
    arguments["n_q"] = _codebooks(rates, arguments, path)
    own = config.get(_OWN)
    if isinstance(own, dict):
        arguments |= {name: own[name] for name in TRAINING_ONLY if name in own}
        if own.get(_SILENT) is True:
            arguments["lstm"] = 0
    return arguments


def _codebooks(rates: Any, arguments: dict[str, Any], path: Path) -> int:
    """How many codebooks the highest of `target_bandwidths` pays for."""
    check_codec_config({**arguments, "n_q": 1}, path, _NAMES)
    if not isinstance(rates, list) or not rates or not isinstance(rates[-1], int | float):
        raise UserError(f"{path}: target_bandwidths is {rates!r}, but should list kbit/s")
    bits = _bits_per_codebook(
        arguments["sample_rate"], math.prod(arguments["ratios"]), arguments["card"]
    )
    if not 0 < bits <= 1000 * rates[-1] < 1e9:
        raise UserError(f"{path}: target_bandwidths is {rates}, but a codebook takes {bits} bit/s")
    return int(1000 * rates[-1] // bits)


def config_to_transformers(codec: Encodec) -> dict[str, Any]:
    """The content of config.json."""
    check_exportable(codec)
    config = codec.config
    for refused, why in (
        (config["norm"] == "none", "knows weight and group norm, this codec has none"),
        (codec.card & (codec.card - 1), f"wants a power of 2 as codebook size, not {codec.card}"),
        (codec.channels > 2, f"takes 1 or 2 channels, not {codec.channels}"),
        (
            config["chunk_overlap"] and not config["chunk_duration"],
            "has no chunk_overlap without chunk_duration",
        ),
    ):
        if refused:
            raise UserError(f"transformers' EncodecModel {why}: export to audiocraft or native")
    values = {theirs: config[ours] for theirs, (ours, _) in _OPTIONS.items()}
    values["norm_type"] = next(theirs for theirs, o in _NORMS.items() if o == config["norm"])
    values["use_conv_shortcut"] = config["skip"] == "conv"
    if config["chunk_duration"] is None:
        values["overlap"] = None
    return {
        "architectures": ["EncodecModel"],
        "model_type": "encodec",
        "dtype": "float32",
        "target_bandwidths": bandwidths(codec),
        "codebook_dim": config["dimension"],
        **values,
        "num_lstm_layers": max(1, config["lstm"]),
        _OWN: {
            **{name: config[name] for name in TRAINING_ONLY},
            **({_SILENT: True} if config["lstm"] == 0 else {}),
        },
    }
