"""The options of a MusicGen, as transformers' config.json holds them."""

from pathlib import Path
from typing import Any, NamedTuple

import torch

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief, read_json
from musicgen_train.formats.lm_building import check_lm_config
from musicgen_train.lm.delay import default_delays
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

MODEL_TYPES = {"musicgen": False, "musicgen_melody": True}  # and whether there is a melody
OWN = "musicgen_train"  # a key for what transformers has no place for, and carries along unread
# What LanguageModel calls an option: what transformers does, and its default there.
_DECODER: dict[str, tuple[str, Any]] = {
    "n_q": ("num_codebooks", 4),
    "card": ("vocab_size", 2048),
    "dim": ("hidden_size", 1024),
    "num_heads": ("num_attention_heads", 16),
    "num_layers": ("num_hidden_layers", 24),
}
NAMES = {
    **{ours: f"decoder.{theirs}" for ours, (theirs, _) in _DECODER.items()},
    "ffn_mult": "decoder.ffn_dim / decoder.hidden_size",
    "text_dim": "text_encoder.d_model",
    "chroma_dim": "num_chroma",
    "chroma_length": "chroma_length",
    "dropout": f"{OWN}.dropout",
}
# Options of which only one value is known here; where nothing is written transformers has it too.
_ONLY = {
    "activation_function": "gelu",
    "scale_embedding": False,
    "tie_word_embeddings": False,
}


class Described(NamedTuple):
    """What config.json says of a MusicGen."""

    lm: dict[str, Any]  # the arguments of LanguageModel
    # Whether the conditions are projected; transformers leaves that out where no width changes.
    text_projected: bool
    chroma_projected: bool
    stereo: bool  # the codec is run on left and right
    max_duration: float | None  # seconds, where this project wrote them


def describe(folder: Path) -> Described:
    """Read config.json; an option that is unknown here is a `UserError`, never ignored."""
    path = folder / "config.json"
    config = read_json(path)
    kind = config.get("model_type") if isinstance(config, dict) else None
    if not isinstance(kind, str) or kind not in MODEL_TYPES:
        known = " and ".join(MODEL_TYPES)
        raise UserError(f"{path} describes model_type {brief(kind)}: only {known} can be loaded")
    decoder, text, own = (_section(config, name, path) for name in ("decoder", "text_encoder", OWN))
    _check_known(decoder, text, kind, path)
    lm: dict[str, Any] = {
        ours: decoder.get(theirs, default) for ours, (theirs, default) in _DECODER.items()
    }
    lm["text_dim"] = text.get("d_model", 512)
    lm["dropout"] = own.get("dropout", 0.0)
    if MODEL_TYPES[kind]:
        lm["chroma_dim"] = config.get("num_chroma", 12)
        lm["chroma_length"] = config.get("chroma_length", 235)
    check_lm_config(lm, path, NAMES)
    lm |= _places(MODEL_TYPES[kind])
    ffn_dim = decoder.get("ffn_dim", 4096)
    if type(ffn_dim) is not int or ffn_dim % lm["dim"]:
        raise UserError(
            f"{path}: decoder.ffn_dim is {brief(ffn_dim)}, but should be a multiple of hidden_size"
        )
    lm["ffn_mult"] = ffn_dim // lm["dim"]
    stereo = _stereo(decoder, lm["n_q"], path)
    lm["delays"] = default_delays(lm["n_q"], 2 if stereo else 1)
    check_lm_config(lm, path, NAMES)
    _check_special_ids(decoder, lm["card"], path)
    return Described(
        lm,
        lm["text_dim"] != lm["dim"],
        lm.get("chroma_dim") != lm["dim"],
        stereo,
        _seconds(own, path),
    )


def decoder_to_transformers(model: MusicGen) -> dict[str, Any]:
    """The section `decoder` of config.json; what transformers could not build is a `UserError`."""
    lm, config = model.lm, model.lm.config
    melody = check_transformers_can(model)
    stereo = isinstance(model.codec, StereoCodec)
    expected = default_delays(lm.n_q, 2 if stereo else 1)
    if list(lm.delays) != expected:
        raise UserError(
            f"transformers delays these codebooks by {expected}, not {list(lm.delays)}: export to "
            "audiocraft or native"
        )
    return {
        "model_type": "musicgen_melody_decoder" if melody else "musicgen_decoder",
        **{theirs: config[ours] for ours, (theirs, _) in _DECODER.items()},
        "ffn_dim": config["ffn_mult"] * lm.dim,
        "audio_channels": 2 if stereo else 1,
        "max_position_embeddings": max(2048, max_steps(model)),
        **_ONLY,
        # transformers' own default would be 0.1, and its dropout has other places than ours.
        "dropout": 0.0,
        "attention_dropout": 0.0,
        "activation_dropout": 0.0,
        "layerdrop": 0.0,
        "use_cache": True,
        "pad_token_id": lm.card,
        "bos_token_id": lm.card,
        "decoder_start_token_id": lm.card,  # training in transformers fails without it
    }


def check_transformers_can(model: MusicGen) -> bool:
    """Refuse conditions that transformers has no model for; whether it is a melody model."""
    encoder, config = model.text_encoder, model.lm.config
    if not isinstance(encoder, T5TextEncoder) or config["text_dim"] is None:
        kind = "none" if encoder is None else type(encoder).__name__
        raise UserError(
            f"transformers' MusicGens read text by T5, but the text encoder here is {kind}: save "
            "as native"
        )
    melody = config["chroma_dim"] is not None
    if melody and model.chroma is None:
        raise UserError("this melody model has no chroma extractor: load the whole model")
    if melody and config["fuse_chroma"] == "sum":
        raise UserError(
            "transformers has no MusicGen that adds a melody to its steps: give --without-melody "
            "to write what this one does for texts alone, or export to native"
        )
    for name, place in _places(melody).items():
        if config[name] != place:
            raise UserError(
                f"transformers' {'melody' if melody else 'text'} model has {name} {place!r}, not "
                f"{config[name]!r}: export to audiocraft or native"
            )
    return melody


def max_steps(model: MusicGen) -> int:
    """The `max_length` of generation_config.json: as for the released models, the codec frames."""
    return round(model.max_duration * model.codec.frame_rate)


def is_identity(lm: LanguageModel, name: str) -> bool:
    """Whether a projection passes its input on, so that transformers may leave it out."""
    weight, bias = (getattr(lm.fuser, name).state_dict()[key] for key in ("weight", "bias"))
    return torch.equal(weight.float().cpu(), torch.eye(lm.dim)) and not bias.any()


def _places(melody: bool) -> dict[str, str]:
    return {"fuse_text": "prepend", "fuse_chroma": "prepend"} if melody else {"fuse_text": "cross"}


def _section(config: dict[str, Any], name: str, path: Path) -> dict[str, Any]:
    section = config.get(name, {} if name == OWN else None)
    if not isinstance(section, dict):
        raise UserError(f"{path}: the section {name} is missing: copy the folder again")
    return section


def _check_known(decoder: dict[str, Any], text: dict[str, Any], kind: str, path: Path) -> None:
    for name, section, wanted in (
        ("text_encoder", text, "t5"),
        ("decoder", decoder, f"{kind}_decoder"),
    ):
        if section.get("model_type") != wanted:
            found = brief(section.get("model_type"))
            raise UserError(
                f"{path}: {name} has model_type {found}, but only {wanted} is supported"
            )
    for name, value in _ONLY.items():
        if decoder.get(name, value) != value:
            raise UserError(
                f"{path}: decoder.{name} is {brief(decoder[name])}, but only {value!r} is supported"
            )
    width = decoder.get("cross_attention_hidden_size")
    if width is not None:
        raise UserError(f"{path}: decoder.cross_attention_hidden_size is {brief(width)}, but only "
                        "null is supported")  # fmt: skip


def _check_special_ids(decoder: dict[str, Any], card: int, path: Path) -> None:
    for name in ("pad_token_id", "bos_token_id", "decoder_start_token_id"):
        default = card if name.startswith("decoder") else 2048
        found = decoder.get(name, default)
        if found is not None and found != card:
            raise UserError(
                f"{path}: decoder.{name} is {brief(found)}, but should be the vocab_size {card}"
            )


def _stereo(decoder: dict[str, Any], n_q: int, path: Path) -> bool:
    channels = decoder.get("audio_channels", 1)
    if type(channels) is not int or channels not in (1, 2):
        raise UserError(
            f"{path}: decoder.audio_channels is {brief(channels)}, but should be 1 or 2"
        )
    if channels == 2 and n_q % 2:
        raise UserError(f"{path}: decoder.num_codebooks is {n_q}, but stereo has an even number")
    return channels == 2


def _seconds(own: dict[str, Any], path: Path) -> float | None:
    seconds = own.get("max_duration")
    if seconds is not None and (type(seconds) not in (int, float) or not 0 < seconds <= 3600):
        raise UserError(f"{path}: {OWN}.max_duration is {brief(seconds)}, but should be seconds")
    return seconds
