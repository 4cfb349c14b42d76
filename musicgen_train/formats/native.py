"""The native checkpoint: a folder of config.json, codec.safetensors and model.safetensors.

A codec folder holds the first two; a MusicGen folder all three, its codec included. config.json is
written last: without it a folder is no checkpoint.
"""

from pathlib import Path
from typing import Any

from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats.codec_building import build_codec, check_savable
from musicgen_train.formats.codec_storage import from_storage, to_storage
from musicgen_train.formats.conditioning_building import (
    build_chroma,
    build_text_encoder,
    describe_text_encoder,
)
from musicgen_train.formats.files import brief, read_json, read_tensors, write_json, write_tensors
from musicgen_train.formats.half_precision import stored_as
from musicgen_train.formats.lm_building import build_lm
from musicgen_train.formats.value_rules import SECONDS, TEXT, Rule
from musicgen_train.lm.inference import check_unrounded
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

ASSETS = Path(__file__).parents[1] / "assets"
FORMAT = "musicgen_train"
VERSION = 1


def save_codec(codec: Encodec | StereoCodec, folder: str | Path) -> Path:
    """Write a codec folder; its files appear whole or not at all.

    It holds float16 where that is exact, as of a codec of `half_precision.rounded_codec`.
    """
    folder = Path(folder)
    section = _describe_codec(codec)
    _start(folder)
    write_tensors(to_storage(_mono(codec)), folder / "codec.safetensors")
    _write_config(section, folder)
    return folder


def save_musicgen(
    model: MusicGen,
    folder: str | Path,
    *,
    dtype: str = "float32",
    licence: str | None = None,
    training: dict[str, Any] | None = None,
) -> Path:
    """Write a MusicGen folder; weights of a frozen text encoder stay out of it.

    dtype: of the weights in the file, but for the codec's; "float16" and "bfloat16" halve it. The
    codec keeps its exact weights, as its codes are those (see `save_codec`). licence, training: for
    the record only, to which adapters that are in the weights are added.
    """
    folder = Path(folder)
    check_unrounded(model.lm)
    if model.merged_adapters:
        training = {**(training or {}), "adapters": model.merged_adapters}
    if not TEXT.fits(model.name):
        raise UserError(f"the model is called {brief(model.name)}: give it {TEXT.wanted} as name")
    weights = {f"lm.{name}": tensor for name, tensor in model.lm.state_dict().items()}
    if model.text_encoder is not None:
        for name, tensor in model.text_encoder.state_dict().items():
            weights[f"text_encoder.{name}"] = tensor
    description = {
        "name": model.name,
        **_describe_codec(model.codec),
        "lm": model.lm.config,
        "text_encoder": describe_text_encoder(model.text_encoder),
        "chroma": model.chroma.config if model.chroma is not None else None,
        "max_duration": model.max_duration,
        **({"licence": licence} if licence is not None else {}),
        **({"training": training} if training else {}),
    }
    stored = {name: stored_as(tensor, dtype) for name, tensor in weights.items()}
    _start(folder)
    write_tensors(stored, folder / "model.safetensors")
    write_tensors(to_storage(_mono(model.codec)), folder / "codec.safetensors")
    _write_config(description, folder)
    return folder


def read_native_codec(folder: Path) -> Encodec | StereoCodec:
    """Load the codec of a native folder."""
    path = folder / "config.json"
    config = read_config(folder)
    state = from_storage(read_tensors(folder / "codec.safetensors"))
    mono = build_codec(config.get("codec"), state, path)
    stereo = config.get("stereo", False)
    if type(stereo) is not bool:
        raise UserError(f"{path}: stereo is {brief(stereo)}, but should be true or false")
    try:
        return StereoCodec(mono) if stereo else mono
    except UserError as error:
        raise UserError(f"{path}: {error}") from None


def read_native_lm(folder: Path) -> LanguageModel:
    """Load the bare language model of a native folder; no text encoder is touched."""
    return _build_lm(folder, read_config(folder), read_tensors(folder / "model.safetensors", "lm."))


def read_native_musicgen(folder: Path) -> MusicGen:
    """Load everything that generates: codec, language model, text encoder, chroma."""
    path, weights = folder / "config.json", folder / "model.safetensors"
    config = read_config(folder)
    lm = _build_lm(folder, config, read_tensors(weights, "lm."))
    codec = read_native_codec(folder)
    if codec.identity() != config.get("codec_identity"):
        raise UserError(
            f"{folder}: the language model was trained on codes of codec "
            f"{brief(config.get('codec_identity'))}, but codec.safetensors is {codec.identity()}: "
            "put the right codec beside it"
        )
    section, state = config.get("text_encoder"), read_tensors(weights, "text_encoder.")
    return MusicGen(
        _checked(config, "name", TEXT, path),
        codec,
        lm,
        build_text_encoder(section, state, path, weights),
        build_chroma(config.get("chroma"), path),
        max_duration=_checked(config, "max_duration", SECONDS, path),
    )


def shipped() -> list[str]:
    """Names of the codecs in assets."""
    return sorted(path.parent.name for path in ASSETS.glob("*/codec.safetensors"))


def read_config(folder: Path) -> dict[str, Any]:
    """config.json of a native folder, which no later version than this one wrote."""
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


def _build_lm(folder: Path, config: dict[str, Any], state: dict[str, Tensor]) -> LanguageModel:
    return build_lm(config.get("lm"), state, folder / "config.json")


def _checked(config: dict[str, Any], name: str, rule: Rule, path: Path) -> Any:
    value = config.get(name)
    if not rule.fits(value):
        raise UserError(f"{path}: {name} is {brief(value)}, but should be {rule.wanted}")
    return value


def _mono(codec: Encodec | StereoCodec) -> Encodec:
    return codec.mono if isinstance(codec, StereoCodec) else codec


def _describe_codec(codec: Encodec | StereoCodec) -> dict[str, Any]:
    check_savable(_mono(codec))
    stereo = {"stereo": True} if isinstance(codec, StereoCodec) else {}
    return {"codec": _mono(codec).config, **stereo, "codec_identity": codec.identity()}


def _start(folder: Path) -> None:
    """An interrupted rewrite must not leave an old description of new weights."""
    (folder / "config.json").unlink(missing_ok=True)


def _write_config(description: dict[str, Any], folder: Path) -> None:
    write_json({"format": FORMAT, "version": VERSION, **description}, folder / "config.json")
