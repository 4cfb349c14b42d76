"""MusicGen in transformers' layout: the folder of a MusicGen, or of a MusicGen Melody."""

from pathlib import Path
from typing import Any

import torch
from packaging.version import Version
from torch import Tensor

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, load_t5, t5_origin
from musicgen_train.errors import UserError
from musicgen_train.formats.files import write_json, write_tensors
from musicgen_train.formats.hub import model_name
from musicgen_train.formats.lm_building import empty_lm
from musicgen_train.formats.lm_layouts import from_layout, to_layout, transformers_pieces
from musicgen_train.formats.transformers_codec import (
    codec_state_to_transformers,
    config_to_transformers,
    read_transformers_codec,
)
from musicgen_train.formats.transformers_lm_config import (
    NAMES,
    OWN,
    Described,
    decoder_to_transformers,
    describe,
    is_identity,
)
from musicgen_train.formats.transformers_processor import (
    generation_config,
    processor_config,
    read_chroma,
    read_max_duration,
    write_tokenizer,
)
from musicgen_train.formats.transformers_weights import read_weights
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

_PREFIXES = ("decoder.", "enc_to_dec_proj.", "audio_enc_to_dec_proj.")
_POSITIONS = "decoder.model.decoder.embed_positions.weights"  # in old files, though it is fixed
_PROJECTIONS = {"text_proj": "enc_to_dec_proj", "chroma_proj": "audio_enc_to_dec_proj"}
_TIED = "encoder.embed_tokens.weight"  # T5's second name for shared.weight


def read_transformers_lm(folder: Path) -> LanguageModel:
    """Load the bare language model of a MusicGen or MusicGen Melody folder."""
    return _read(folder, describe(folder))


def read_transformers_musicgen(folder: Path, repository: str | None = None) -> MusicGen:
    """Load everything that generates; the T5 of the folder is loaded when it is first used.

    repository: of the hub, where the folder is from there; it is then the place of the T5.
    """
    described = describe(folder)
    codec = read_transformers_codec(folder)
    encoder = T5TextEncoder(repository or str(folder.resolve()), dim=described.lm["text_dim"])
    chroma = None
    if described.lm.get("chroma_dim") is not None:
        options = read_chroma(folder, codec.sample_rate, described.lm["chroma_dim"])
        chroma = ChromaExtractor(**options)
    duration = described.max_duration or read_max_duration(folder, codec.frame_rate)
    return MusicGen(
        model_name(folder, repository),
        StereoCodec(codec) if described.stereo else codec,
        _read(folder, described),
        encoder,
        chroma,
        max_duration=duration,
    )


def save_transformers_musicgen(model: MusicGen, folder: str | Path) -> Path:
    """Write the folder that `from_pretrained` of transformers' MusicGen and AutoProcessor load.

    Its T5 is written too. What transformers cannot hold is a `UserError`, before anything is.
    """
    folder = Path(folder)
    decoder = decoder_to_transformers(model)
    codec = model.codec.mono if isinstance(model.codec, StereoCodec) else model.codec
    audio = config_to_transformers(codec)
    state = _lm_state(model.lm)
    assert isinstance(model.text_encoder, T5TextEncoder)
    tokenizer, t5 = load_t5(model.text_encoder.name_or_path)
    if t5.config.d_model != model.text_encoder.dim:
        raise UserError(
            f"text encoder {model.text_encoder.name_or_path!r} has width {t5.config.d_model}, the "
            f"model expects {model.text_encoder.dim}: name the one that it was trained with"
        )
    for name, tensor in codec_state_to_transformers(codec).items():
        state[f"audio_encoder.{name}"] = tensor
    for name, tensor in t5.state_dict().items():
        if name != _TIED:
            state[f"text_encoder.{name}"] = tensor
    origin = t5_origin(model.text_encoder.name_or_path)
    if Path(origin).exists():
        origin = Path(origin).name  # a path of this machine says nothing elsewhere
    text = t5.config.to_dict() | {"_name_or_path": origin, "architectures": ["T5EncoderModel"]}
    write_tensors(state, folder / "model.safetensors")
    write_tokenizer(tokenizer, folder)
    for file, content in processor_config(model).items():
        write_json(content, folder / file)
    write_json(generation_config(model), folder / "generation_config.json")
    write_json(_config(model, decoder, audio, text), folder / "config.json")
    return folder


def transformers_drops_melody(version: str) -> bool:
    """Whether this transformers ignores text, melody and guidance when MusicGen Melody generates.

    4.55 to 4.57 and 5.4 to 5.15 were seen to (4.56 fails outright); 5.16 and 5.17 have the same
    code; 5.0 and 5.20 on were seen not to, and 5.18 and 5.19 have the mended code. 4.54 and 5.1 to
    5.3, which nobody has tried, count as faulty.
    """
    release = Version(version).release[:2]
    return (4, 54) <= release < (5, 0) or (5, 1) <= release < (5, 18)


def _read(folder: Path, described: Described) -> LanguageModel:
    path = folder / "config.json"
    lm = empty_lm(described.lm, path, NAMES)
    state = read_weights(folder, *_PREFIXES)
    state.pop(_POSITIONS, None)
    for ours, projected in (
        ("text_proj", described.text_projected),
        ("chroma_proj", described.chroma_projected),
    ):
        if getattr(lm.fuser, ours) is not None and not projected:
            state[f"{_PROJECTIONS[ours]}.weight"] = torch.eye(lm.dim)
            state[f"{_PROJECTIONS[ours]}.bias"] = torch.zeros(lm.dim)
    return from_layout(lm, state, transformers_pieces(lm), path)


def _lm_state(lm: LanguageModel) -> dict[str, Tensor]:
    """The decoder's tensors, without the projections that transformers has no place for."""
    state = to_layout(lm, transformers_pieces(lm))
    for ours, theirs in _PROJECTIONS.items():
        projection = getattr(lm.fuser, ours)
        if projection is None or projection.in_features != lm.dim:
            continue
        if not is_identity(lm, ours):
            raise UserError(
                f"transformers projects no condition that has the model's own width {lm.dim}, this "
                "model does: export to audiocraft or native"
            )
        del state[f"{theirs}.weight"], state[f"{theirs}.bias"]
    return state


def _config(
    model: MusicGen, decoder: dict[str, Any], audio: dict[str, Any], text: dict[str, Any]
) -> dict[str, Any]:
    """The content of config.json."""
    melody = model.lm.config["chroma_dim"] is not None
    config = {
        "architectures": [f"Musicgen{'Melody' if melody else ''}ForConditionalGeneration"],
        "model_type": "musicgen_melody" if melody else "musicgen",
        "is_encoder_decoder": True,
        "dtype": "float32",
        "text_encoder": text,
        "audio_encoder": audio,
        "decoder": decoder,
        OWN: {"max_duration": model.max_duration, "dropout": model.lm.config["dropout"]},
    }
    if melody:
        config["num_chroma"] = model.lm.config["chroma_dim"]
        config["chroma_length"] = model.lm.config["chroma_length"]
    return config
