"""Files that appear whole or not at all, and one line where they cannot be written."""

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import soundfile

from musicgen_train.errors import UserError


@contextmanager
def writing(path: str | Path) -> Iterator[None]:
    """Say in one line that a file cannot be written, and why."""
    try:
        yield
    except (OSError, soundfile.LibsndfileError) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise UserError(
            f"{path}: cannot be written ({reason}); mend that, or name another"
        ) from None


@contextmanager
def replacing(path: Path):
    """Give a temporary name beside `path` that becomes `path` only if the block succeeds."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_text(path: Path, text: str) -> None:
    """A text file, in a folder that is made if it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with replacing(path) as partial:
        partial.write_text(text, encoding="utf-8")


def write_json(path: Path, content: Any) -> None:
    """A JSON file, in a folder that is made if it is missing."""
    write_text(path, json.dumps(content, indent=1) + "\n")
