"""Beside each generated file: the settings, and the command, that make it again."""

import argparse
import json
import shlex
from collections.abc import Mapping
from itertools import chain, count
from pathlib import Path
from typing import Any

from musicgen_train import __version__


def write_sidecar(
    audio: Path, parser: argparse.ArgumentParser, options: Mapping[str, Any], device: str
) -> Path:
    """Write `<audio>.json` with the options of this one piece, as the parser names them."""
    import torch

    from musicgen_train.whole_files import replacing, writing

    settings = {
        **plain(options),
        "device": device,
        "command": again(parser, options),
        "versions": {"musicgen_train": __version__, "torch": torch.__version__},
    }
    path = sidecar_of(audio)
    with writing(path), replacing(path) as temporary:
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


def sidecar_of(audio: Path) -> Path:
    """Where the settings of a file are."""
    return audio.with_name(f"{audio.name}.json")


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options as JSON gives them back."""
    return {name: str(v) if isinstance(v, Path) else v for name, v in options.items()}


def free_path(audio: Path, options: Mapping[str, Any]) -> Path:
    """The first of NAME, NAME_2, NAME_3 … that is not taken by another piece.

    The same piece, made by the same options wherever the folder is, takes its own name again.
    """
    others = (audio.with_stem(f"{audio.stem}_{number}") for number in count(2))
    return next(path for path in chain([audio], others) if is_free(path, options))


def is_free(audio: Path, options: Mapping[str, Any]) -> bool:
    """Whether a name is nobody's, or this piece's own."""
    taken = audio.exists() or sidecar_of(audio).exists()
    return not taken or (not audio.is_dir() and is_made_by(audio, options))


def is_made_by(audio: Path, options: Mapping[str, Any]) -> bool:
    """Whether the settings beside a file are these; where it lies, and the device, do not count."""
    try:
        settings = json.loads(sidecar_of(audio).read_text(encoding="utf-8"))
        told = {name: settings[name] for name in plain(options)}
    except (OSError, ValueError, TypeError, KeyError):
        return False
    own = plain(options)
    return all(told[name] == own[name] for name in own if name not in ("output", "device"))


def again(parser: argparse.ArgumentParser, options: Mapping[str, Any]) -> str:
    """The command line with these options; those that are the parser's defaults are left out."""
    words = parser.prog.split()
    for name, value in options.items():
        if value is None or value == parser.get_default(name):
            continue
        flag = f"--{name.replace('_', '-')}"
        # `=`, so that a value may begin with a dash.
        values = value if isinstance(value, list) else [value]
        words += [flag] if value is True else [f"{flag}={each}" for each in values]
    return shlex.join(words)
