"""`PATH[=WEIGHT]`, as the commands take adapters; nothing heavy is imported for --help."""

import math
from collections.abc import Sequence

from musicgen_train.errors import UserError

HELP = "PATH or PATH=WEIGHT (1: as trained): an adapter's folder; repeat to mix several"


def parse_adapters(words: Sequence[str]) -> dict[str, float]:
    """Folders and weights. The last `=` splits, if a number follows it."""
    adapters: dict[str, float] = {}
    for word in words:
        path, weight = _split(word)
        if not path:
            raise UserError(f"--adapter {word!r}: give PATH or PATH=WEIGHT")
        if not math.isfinite(weight):
            raise UserError(f"--adapter {word}: give a number, such as {path}=0.7")
        if path in adapters:
            raise UserError(f"--adapter {path} is given twice: give it once, with one weight")
        adapters[path] = weight
    return adapters


def check_adapters(adapters: Sequence[str]) -> None:
    """Refuse paths that hold no adapter, before a model is loaded."""
    from musicgen_train.adapters.adapter_file import read_adapter

    for path in adapters:
        read_adapter(path)


def _split(word: str) -> tuple[str, float]:
    path, equals, weight = word.rpartition("=")
    try:
        return (path, float(weight)) if equals else (word, 1.0)
    except ValueError:
        return word, 1.0
