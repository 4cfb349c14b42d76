"""MusicGen in audiocraft's layout: `state_dict.bin` and `compression_state_dict.bin`."""

from pathlib import Path
from typing import Any

import torch
import yaml
from torch import Tensor

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.audiocraft_codec import (
    FILE_NAME as CODEC_FILE,
)
from musicgen_train.formats.audiocraft_codec import (
    VERSION,
    read_audiocraft_codec,
    save_audiocraft_codec,
)
from musicgen_train.formats.audiocraft_lm_config import (
    PLACES,
    Described,
    describe,
)
from musicgen_train.formats.audiocraft_lm_writing import describe_for_audiocraft
from musicgen_train.formats.files import read_pickle, to_plain, write_pickle
from musicgen_train.formats.hub import model_name
from musicgen_train.formats.lm_building import empty_lm
from musicgen_train.formats.lm_layouts import audiocraft_pieces, from_layout, to_layout
from musicgen_train.formats.xp_config import XpConfig
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

FILE_NAME = "state_dict.bin"
# The chroma window is in the file, but it follows from the configuration.
_DERIVED = "condition_provider.conditioners.self_wav.chroma."
_WINDOW = f"{_DERIVED}spec.window"


def read_audiocraft_lm(path: Path) -> LanguageModel:
    """Load the bare language model of `state_dict.bin`, or of the folder that holds it."""
    lm, _ = _read(path)
    return lm


def read_audiocraft_musicgen(folder: Path, repository: str | None = None) -> MusicGen:
    """Load everything that generates; the T5 that is named is loaded when it is first used.

    repository: of the hub, where the folder is from there.
    """
    lm, described = _read(folder)
    codec = read_audiocraft_codec(folder / CODEC_FILE)
    if described.codec_n_q not in (None, codec.n_q):
        raise UserError(
            f"{folder / FILE_NAME}: compression_model_n_q is {described.codec_n_q}, but the codec "
            f"has {codec.n_q} codebooks: export one of that number"
        )
    encoder = chroma = None
    if described.t5 is not None:
        encoder = T5TextEncoder(described.t5, dim=lm.config["text_dim"])
    if described.chroma is not None:
        chroma = ChromaExtractor(**described.chroma)
    return MusicGen(
        model_name(folder, repository),
        StereoCodec(codec) if described.stereo else codec,
        lm,
        encoder,
        chroma,
        max_duration=described.max_duration,
    )


def save_audiocraft_musicgen(model: MusicGen, folder: str | Path) -> Path:
    """Write a MusicGen as audiocraft exports it; what it cannot hold is a `UserError`.

    audiocraft's `MusicGen.get_pretrained` itself stops at windows of 18 s or less; its loaders
    load_lm_model and load_compression_model take any.
    """
    folder = Path(folder)
    content = {
        "best_state": _state(model),
        "xp.cfg": yaml.safe_dump(describe_for_audiocraft(model), sort_keys=False),
        "version": VERSION,
        "exported": True,
    }
    codec = model.codec.mono if isinstance(model.codec, StereoCodec) else model.codec
    save_audiocraft_codec(codec, folder)
    write_pickle(content, folder / FILE_NAME)
    return folder


def lm_from_audiocraft(
    config: dict[str, Any], state: dict[str, Tensor], source: Path
) -> LanguageModel:
    """A language model from its arguments and from audiocraft's state dict, which is used up."""
    lm = empty_lm(config, source, PLACES)
    # The attention of audiocraft's plain backend is one module deeper, with the same weights.
    given = {
        name.replace(".mha.", "."): state.pop(name)
        for name in list(state)
        if not name.startswith(_DERIVED)
    }
    return from_layout(lm, given, audiocraft_pieces(lm), source)


def _read(path: Path) -> tuple[LanguageModel, Described]:
    path = path / FILE_NAME if path.is_dir() else path
    content = read_pickle(path)
    state = content.get("best_state") if isinstance(content, dict) else None
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise UserError(f"{path} is no audiocraft model: best_state is missing or not flat")
    described = describe(XpConfig(content.get("xp.cfg"), path), state)
    return lm_from_audiocraft(described.lm, state, path), described


def _state(model: MusicGen) -> dict[str, Tensor]:
    """Copies of the language model's tensors under audiocraft's names, all that it asks for."""
    state = to_layout(model.lm, audiocraft_pieces(model.lm))
    if model.chroma is not None and model.lm.config["chroma_dim"] is not None:
        state[_WINDOW] = torch.hann_window(model.chroma.window)
    return to_plain(state)
