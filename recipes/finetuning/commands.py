"""The command line that does by hand what a stage does."""

import json
import shlex
from collections.abc import Mapping
from typing import Any

from recipes.finetuning.command_line import quoted

PLAIN = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_-./")


def show(command: str, overrides: Mapping[str, Any] | None = None) -> None:
    """Print a command that anybody can type, with those of its keys that say something."""
    words = [as_word(key, value) for key, value in (overrides or {}).items() if value is not None]
    print("$", " ".join([command, *words]), flush=True)


def as_word(key: str, value: Any) -> str:
    """`key=value` for Hydra, quoted for the shell."""
    if isinstance(value, str):
        said = value if value and set(value) <= PLAIN else quoted(value)
    else:
        said = json.dumps(value)
    return shlex.quote(f"{key}={said}")
