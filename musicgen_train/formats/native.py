"""The native checkpoint: a folder of config.json, codec.safetensors and model.safetensors.

A codec folder holds the first two; a MusicGen folder all three, its codec included.
"""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from musicgen_train.codec.encodec import Encodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.codec_building import build_codec, check_savable
from musicgen_train.formats.files import read_json, read_tensors, write_json, write_tensors
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

ASSETS = Path(__file__).parents[1] / "assets"
FORMAT = "musicgen_train"
VERSION = 1
TEXT_ENCODERS: dict[str, type[WordTextEncoder] | type[T5TextEncoder]] = {
    "words": WordTextEncoder,
    "t5": T5TextEncoder,
}


def save_codec(codec: Encodec, folder: str | Path) -> Path:
    """Write a codec folder; its files appear whole or not at all."""
    check_savable(codec)
    folder = Path(folder)
    write_tensors(codec.state_dict(), folder / "codec.safetensors")
    _write_config({"codec": codec.config, "codec_identity": codec.identity()}, folder)
    return folder


def save_musicgen(model: MusicGen, folder: str | Path) -> Path:
    """Write a MusicGen folder; weights of a frozen text encoder stay out of it."""
    check_savable(model.codec)
    folder = Path(folder)
    weights = {f"lm.{name}": tensor for name, tensor in model.lm.state_dict().items()}
    encoder = model.text_encoder
    description: dict[str, Any] = {
        "name": model.name,
        "codec": model.codec.config,
        "codec_identity": model.codec.identity(),
        "lm": model.lm.config,
        "text_encoder": None,
        "chroma": model.chroma.config if model.chroma is not None else None,
        "max_duration": model.max_duration,
    }
    if encoder is not None:
        (kind,) = (k for k, cls in TEXT_ENCODERS.items() if type(encoder) is cls)
        description["text_encoder"] = {"type": kind, **encoder.config}
        if isinstance(encoder, WordTextEncoder):
            for name, tensor in encoder.state_dict().items():
                weights[f"text_encoder.{name}"] = tensor
    write_tensors(weights, folder / "model.safetensors")
    write_tensors(model.codec.state_dict(), folder / "codec.safetensors")
    _write_config(description, folder)
    return folder


def read_native_codec(folder: Path) -> Encodec:
    """Load the codec of a native folder."""
    config = _read_config(folder).get("codec")
    return build_codec(config, read_tensors(folder / "codec.safetensors"), folder / "config.json")


def load_lm(path_or_name: str | Path) -> LanguageModel:
    """Load the bare language model of a native folder; no text encoder is touched."""
    folder = _find(path_or_name)
    lm, _ = _load_lm(folder, _read_config(folder))
    return lm


def load_musicgen(path_or_name: str | Path) -> MusicGen:
    """Load everything that generates: codec, language model, text encoder, chroma."""
    folder = _find(path_or_name)
    config = _read_config(folder)
    lm, weights = _load_lm(folder, config)
    codec = read_native_codec(folder)
    if codec.identity() != config["codec_identity"]:
        raise UserError(
            f"{folder}: the language model was trained on codes of codec "
            f"{config['codec_identity']}, but codec.safetensors is {codec.identity()}: "
            "put the right codec beside it"
        )
    encoder = None
    if config["text_encoder"] is not None:
        arguments = dict(config["text_encoder"])
        encoder = TEXT_ENCODERS[arguments.pop("type")](**arguments)
        own = _strip(weights, "text_encoder.")
        if own:
            _load_weights(encoder, own, folder)
        encoder.eval()
    chroma = ChromaExtractor(**config["chroma"]) if config["chroma"] else None
    return MusicGen(config["name"], codec, lm, encoder, chroma, max_duration=config["max_duration"])


def _load_lm(folder: Path, config: dict[str, Any]) -> tuple[LanguageModel, dict[str, Tensor]]:
    if "lm" not in config:
        raise UserError(f"{folder} holds a codec, not a language model: give a MusicGen folder")
    weights = _read_weights(folder / "model.safetensors")
    lm = LanguageModel(**config["lm"])
    _load_weights(lm, _strip(weights, "lm."), folder)
    return lm.eval(), weights


def _strip(weights: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    return {k.removeprefix(prefix): v for k, v in weights.items() if k.startswith(prefix)}


def shipped() -> list[str]:
    """Names of the codecs in assets."""
    return sorted(path.parent.name for path in ASSETS.glob("*/codec.safetensors"))


def _find(path_or_name: str | Path) -> Path:
    for folder in (Path(path_or_name), ASSETS / path_or_name):
        if (folder / "config.json").is_file():
            return folder
    raise UserError(f"no checkpoint at {path_or_name}: give a MusicGen folder with a config.json")


def _read_config(folder: Path) -> dict[str, Any]:
    path = folder / "config.json"
    config = read_json(path)
    try:
        if config["format"] != FORMAT or config["version"] > VERSION:
            raise KeyError
    except (KeyError, TypeError):
        raise UserError(
            f"{path} is not a musicgen_train config of version <= {VERSION}: export it again"
        ) from None
    return config


def _write_config(description: dict[str, Any], folder: Path) -> None:
    write_json({"format": FORMAT, "version": VERSION, **description}, folder / "config.json")


def _read_weights(path: Path) -> dict[str, Tensor]:
    # Half precision is for storage; the modules compute in float32 unless asked otherwise.
    return {k: v.float() if v.is_floating_point() else v for k, v in read_tensors(path).items()}


def _load_weights(module: nn.Module, weights: dict[str, Tensor], folder: Path) -> None:
    try:
        with torch.no_grad():
            module.load_state_dict(weights)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{folder}: weights do not fit config.json: {first}") from None
