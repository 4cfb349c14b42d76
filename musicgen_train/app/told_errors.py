"""What a visitor is told when something fails: one line, and no path of the server in it."""

import logging
import re
from collections.abc import Iterable, Mapping
from pathlib import Path

from musicgen_train.errors import UserError, reason_of

log = logging.getLogger(__name__)

_NO_MEMORY = (
    "not enough memory for this: choose fewer variants, a shorter duration or a smaller model"
)
# Folders of an absolute path; what follows "://" is an address.
_FOLDERS = re.compile(r"(?<![\w.:/~])~?/(?:[^\s/:;,'\"()]+/)+")


def told(error: BaseException, names: Mapping[str, str] | None = None) -> str:
    """The line for the page; what nobody expected is written to the server's log in full.

    names: places of the server, and what the visitor knows them as.
    """
    if is_out_of_memory(error):
        return _NO_MEMORY
    if isinstance(error, UserError):
        return without_paths(reason_of(error), names)
    log.error("unexpected error behind the page", exc_info=error)
    return "something went wrong on the server, and its log says what: try again"


def is_out_of_memory(error: BaseException) -> bool:
    """Of the device or of the host, whoever says it."""
    if isinstance(error, MemoryError):
        return True
    said = str(error).lower()
    return isinstance(error, RuntimeError) and (
        "out of memory" in said or "can't allocate memory" in said
    )


def without_paths(line: str, names: Mapping[str, str] | None = None) -> str:
    """A line in which places of the server have their visitors' names, or none but the last."""
    known = dict(names or {})
    known |= {str(Path(place).resolve()): name for place, name in known.items() if _is_path(place)}
    for place in _longest_first(place for place in known if _is_path(place)):
        line = line.replace(place, known[place])
    for place in _longest_first(map(str, (Path.cwd(), Path.home()))):
        if place != "/":
            line = line.replace(f"{place}/", "")
    return _FOLDERS.sub("", line)


def _is_path(place: str) -> bool:
    """A bare name, such as small, is no place."""
    return "/" in place


def _longest_first(places: Iterable[str]) -> list[str]:
    return sorted(places, key=len, reverse=True)
