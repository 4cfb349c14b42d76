"""Whether a checkpoint is a codec or a whole model, told from its files without loading it."""

from __future__ import annotations

from pathlib import Path

from musicgen_train.errors import UserError
from musicgen_train.formats.files import path_of, read_json
from musicgen_train.formats.hub import cached, hub_id
from musicgen_train.formats.lightning_checkpoint import is_codec_training
from musicgen_train.formats.native import ASSETS


def is_codec(path_or_name: str | Path) -> bool:
    """True for what holds no language model: a codec folder or file, or the name of a codec.

    Of a name of the hub that is not in its cache only the name can tell.
    """
    for path in (path_of(path_or_name), ASSETS / path_or_name):
        if path.suffix == ".ckpt" and path.is_file():
            return is_codec_training(path)
        if path.is_file():
            return path.name != "state_dict.bin"
        if path.is_dir():
            return not _has_language_model(path)
    name = str(path_or_name)
    return _cache_says_codec(name) if hub_id(name) else "encodec" in name.lower()


def _cache_says_codec(name: str) -> bool:
    """What the hub's cache holds under a name; the name itself where it does not say."""
    folder = cached(hub_id(name) or name)
    if folder is not None and (folder / "state_dict.bin").is_file():
        return False
    if folder is not None and (folder / "config.json").is_file():
        return not _has_language_model(folder)
    return "encodec" in name.lower()


def _has_language_model(folder: Path) -> bool:
    """Native config.json has a section `lm`, that of transformers `decoder`."""
    if (folder / "state_dict.bin").is_file():  # audiocraft
        return True
    try:
        config = read_json(folder / "config.json")
    except UserError:
        # Without a readable description, a codec's weights are the only sign of a codec.
        return not (folder / "compression_state_dict.bin").is_file()
    return isinstance(config, dict) and ("lm" in config or "decoder" in config)
