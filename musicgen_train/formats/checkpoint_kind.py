"""Whether a checkpoint is a codec or a whole model, told from its files without loading it."""

from __future__ import annotations

import json
from pathlib import Path

from musicgen_train.formats.lightning_checkpoint import is_codec_training
from musicgen_train.formats.native import ASSETS


def is_codec(path_or_name: str | Path) -> bool:
    """True for what holds no language model: a codec folder or file, or the name of a codec."""
    for path in (Path(path_or_name), ASSETS / path_or_name):
        if path.suffix == ".ckpt" and path.is_file():
            return is_codec_training(path)
        if path.is_file():
            return path.name != "state_dict.bin"
        if path.is_dir():
            return not _has_language_model(path)
    return "encodec" in str(path_or_name).lower()


def _has_language_model(folder: Path) -> bool:
    """Native config.json has a section `lm`, that of transformers `decoder`."""
    if (folder / "state_dict.bin").is_file():  # audiocraft
        return True
    try:
        config = json.loads((folder / "config.json").read_text())
    except (OSError, ValueError, RecursionError):
        # Without a readable description, a codec's weights are the only sign of a codec.
        return not (folder / "compression_state_dict.bin").is_file()
    return isinstance(config, dict) and ("lm" in config or "decoder" in config)
