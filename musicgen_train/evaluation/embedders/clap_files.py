"""CLAP in transformers' format, and its tokenizer: from a folder, the hub's cache or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from musicgen_train.errors import UserError, reason_of
from musicgen_train.evaluation.embedders.clap_features import (
    HIGHEST,
    HOP,
    LOWEST,
    N_FFT,
    N_MELS,
    SAMPLE_RATE,
)
from musicgen_train.evaluation.embedders.clap_laion import MADE
from musicgen_train.evaluation.embedders.strict_weights import fill
from musicgen_train.formats.files import read_json
from musicgen_train.formats.hub import fetch_files
from musicgen_train.formats.transformers_weights import read_weights, whole_weights

if TYPE_CHECKING:
    from transformers import ClapModel

# LAION's name of the tokenizer, and its newer name on the hub.
ROBERTA = ("roberta-base", "FacebookAI/roberta-base")
_TOKENIZER = ("tokenizer.json", "tokenizer_config.json", "vocab.json", "merges.txt",
              "special_tokens_map.json")  # fmt: skip
_MODEL = ("config.json", "preprocessor_config.json", *_TOKENIZER)
_SAFETENSORS = ("model.safetensors.index.json", "model*.safetensors")
_PICKLES = ("pytorch_model.bin.index.json", "pytorch_model*.bin")
_HEARD = {
    "sampling_rate": SAMPLE_RATE,
    "fft_window_size": N_FFT,
    "hop_length": HOP,
    "feature_size": N_MELS,
    "frequency_min": LOWEST,
    "frequency_max": HIGHEST,
}


def load_folder(folder: Path) -> ClapModel:
    """The model of a transformers folder, if it hears as LAION's without fusion do."""
    from transformers import ClapConfig, ClapModel

    content = read_json(folder / "config.json")
    if not isinstance(content, dict) or content.get("model_type") != "clap":
        raise UserError(f"{folder} holds no CLAP: give the folder of a ClapModel")
    try:
        model = ClapModel(ClapConfig.from_dict(content))
    except Exception as error:  # whatever transformers says of a stranger's sizes
        raise UserError(f"{folder}/config.json describes no CLAP ({error}): get it again") from None
    if model.audio_model.audio_encoder.enable_fusion:
        raise UserError(f"{folder} is a CLAP with fusion, which hears random crops: give another")
    _check_front_end(folder)
    fill(model, read_weights(folder, ""), folder, "get the model again", MADE)
    return model


def fetch_folder(name: str) -> Path:
    """The folder of a model on the hub: from the cache, else downloaded."""
    kinds = [(*_MODEL, *_SAFETENSORS), (*_MODEL, *_PICKLES)]
    folder, reason = fetch_files((name,), kinds, _is_whole)
    if folder is None:
        raise UserError(
            f"weights.clap={name} is no file or folder here, not in the hub's cache, and cannot "
            f"be downloaded ({reason}): put its config.json, model.safetensors and tokenizer.json "
            "into a folder, and give that"
        )
    return folder


def load_tokenizer(path: Path | str | None, folder: Path | None, vocabulary: int) -> Any:
    """RoBERTa's tokenizer: of `path`, else of the model's own folder, else of the hub.

    vocabulary: tokens that the model knows; a tokenizer with more is refused.
    """
    from transformers import AutoTokenizer

    place = _tokenizer_folder(path, folder)
    try:
        tokenizer = AutoTokenizer.from_pretrained(
            place, local_files_only=True, trust_remote_code=False
        )
        highest = max(tokenizer.get_vocab().values())
    except Exception as error:  # whatever transformers stumbles over in a stranger's files
        raise UserError(
            f"the tokenizer in {place} cannot be read ({reason_of(error)}): copy it again"
        ) from None
    if highest >= vocabulary:
        raise UserError(
            f"the tokenizer in {place} gives the id {highest}, but CLAP knows {vocabulary} tokens: "
            "give that of roberta-base"
        )
    return tokenizer


def _tokenizer_folder(path: Path | str | None, folder: Path | None) -> Path:
    if path is not None:
        if _has_tokenizer(Path(path)):
            return Path(path)
        raise UserError(
            f"weights.clap_tokenizer={path} is no folder with tokenizer.json, or vocab.json and "
            "merges.txt: get those of roberta-base"
        )
    if folder is not None and _has_tokenizer(folder):
        return folder
    found, reason = fetch_files(ROBERTA, [_TOKENIZER], _has_tokenizer)
    if found is None:
        raise UserError(
            "CLAP's tokenizer, roberta-base, is not in the hub's cache and cannot be downloaded "
            f"({reason}): put its tokenizer.json, or vocab.json and merges.txt, into a folder and "
            "give weights.clap_tokenizer=FOLDER"
        )
    return found


def _has_tokenizer(folder: Path) -> bool:
    """Without its files transformers would make an empty tokenizer and say nothing."""
    files = {name for name in _TOKENIZER if (folder / name).is_file()}
    return "tokenizer.json" in files or {"vocab.json", "merges.txt"} <= files


def _is_whole(folder: Path) -> bool:
    return (folder / "config.json").is_file() and whole_weights(folder) is not None


def _check_front_end(folder: Path) -> None:
    """Refuse a model whose own feature extractor hears other bands than ours."""
    path = folder / "preprocessor_config.json"
    if not path.is_file():
        return
    said = read_json(path)
    for name, value in _HEARD.items():
        if isinstance(said, dict) and said.get(name, value) != value:
            raise UserError(
                f"{path} says {name} {said[name]}, but CLAPs of LAION hear with {value}: give "
                "another model"
            )
