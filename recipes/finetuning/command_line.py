"""What users type, as Hydra takes it: paths and sentences need no quoting of their own."""

import difflib
from collections.abc import Collection, Sequence

from musicgen_train.errors import UserError

# Whatever is typed here is meant as it stands, commas, spaces and brackets included.
TEXTS = (
    "input_dir", "base", "trigger", "name", "metadata", "demucs_repo", "clap_model",
)  # fmt: skip


def as_overrides(arguments: Sequence[str]) -> list[str]:
    """The arguments with texts quoted, and with `+` in front of keys of train.py."""
    return [_override(argument) for argument in arguments]


def check_keys(arguments: Sequence[str], known: Collection[str]) -> None:
    """Refuse an unknown key in one line, which takes Hydra seven; any of train.py's is one."""
    for argument in arguments:
        key, equals, _ = argument.partition("=")
        if argument.startswith(("-", "+", "~", "hydra.")):
            continue
        if key in known and not equals:
            raise UserError(f"{key} has no value: give {key}=…")
        if key in known or key.startswith("train."):
            continue
        near = difflib.get_close_matches(key, known, 1)
        remedy = f"did you mean {near[0]}=…?" if near else "conf/finetune.yaml has the keys"
        raise UserError(f"unknown key {key!r}: {remedy}")


def _override(argument: str) -> str:
    key, equals, value = argument.partition("=")
    if key.startswith("train.") and equals:
        return f"+{argument}"
    if key not in TEXTS or not equals or value in ("", "null"):
        return argument
    return f"{key}={quoted(value)}"


def quoted(text: str) -> str:
    """A text in Hydra's quotes, which itself may hold quotes, backslashes and `${`."""
    # In front of a quote backslashes count: each stands for half of two.
    parts = text.split("'")
    escaped = "\\'".join(part + "\\" * _trailing(part) for part in parts[:-1])
    last = parts[-1] + "\\" * _trailing(parts[-1])
    return "'" + (f"{escaped}\\'{last}" if len(parts) > 1 else last).replace("${", "\\${") + "'"


def _trailing(text: str) -> int:
    """Backslashes at the end."""
    return len(text) - len(text.rstrip("\\"))
