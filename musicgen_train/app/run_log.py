"""The end of what the recipe said, as a page shows it."""

import re
from collections.abc import Callable
from pathlib import Path

from musicgen_train.app.untrusted_files import cleaned, read_end

LOG = "app.log"
SHOWN = 16_000  # bytes
_KEPT = 2**20  # bytes of an older start
_COLOURS = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")


def tail(folder: Path, without_paths: Callable[[str], str], most: int = SHOWN) -> str:
    """The last lines of the run's log; of a line that was written over and over the last state.

    most: bytes from its end, beyond which nothing is looked at.
    """
    most = min(most, SHOWN)
    data = (read_end(folder, LOG, most=most) or b"") if most > 0 else b""
    lines = _COLOURS.sub("", data.decode(errors="replace")).split("\n")
    if len(data) == SHOWN:
        lines = lines[1:]  # the first one is cut
    shown = [cleaned(line.rstrip("\r").rpartition("\r")[2], 500) for line in lines]
    return without_paths("\n".join(shown)).strip()


def last_error(log: str) -> str:
    """What the recipe ended with, in its own words; "" if it did not say."""
    found = [line[7:] for line in log.split("\n") if line.startswith("error: ")]
    return found[-1] if found else ""


def shorten(folder: Path) -> None:
    """Keep only the end of a log that has grown, before more is appended."""
    path = folder / LOG
    if path.is_symlink() or (path.exists() and not path.is_file()):
        path.unlink()  # it would lead the log elsewhere
    data = read_end(folder, LOG, most=_KEPT)
    if data is not None and len(data) == _KEPT:
        path.write_bytes(data[-SHOWN:])
