"""Beside each generated file: the settings, and the command, that make it again."""

import argparse
import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_train import __version__


def write_sidecar(
    audio: Path, parser: argparse.ArgumentParser, options: Mapping[str, Any], device: str
) -> Path:
    """Write `<audio>.json` with the options of this one piece, as the parser names them."""
    import torch

    from musicgen_train.data.audio import replacing

    settings = {
        **{name: str(v) if isinstance(v, Path) else v for name, v in options.items()},
        "device": device,
        "command": again(parser, options),
        "versions": {"musicgen_train": __version__, "torch": torch.__version__},
    }
    path = audio.with_name(f"{audio.name}.json")
    with replacing(path) as temporary:
        text = json.dumps(settings, indent=2, ensure_ascii=False)
        temporary.write_text(text + "\n", encoding="utf-8")
    return path


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
