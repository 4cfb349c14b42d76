"""Published weights of embedders: found on this machine or downloaded, and checked."""

from __future__ import annotations

import os
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path
from urllib.error import HTTPError, URLError

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.whole_files import replacing

BLOCK = 1 << 20
TIMEOUT = 30.0  # seconds without a byte


@dataclass(frozen=True)
class PublishedWeights:
    """A file that somebody else trained and published."""

    file: str
    address: str
    sha256: str  # all 64 hex digits, or as many of the first as were published; "" if none were


class MissingWeights(UserError):
    """Weights that are neither here nor to be had: which file, from where, with which hash."""

    def __init__(self, wanted: PublishedWeights, option: str, reason: str) -> None:
        self.wanted = wanted
        digest = f"sha256 {wanted.sha256}" if wanted.sha256 else "no published sha256"
        super().__init__(
            f"{wanted.file} is not here and cannot be downloaded ({reason}): get {wanted.address} "
            f"({digest}) and put it at {weights_folder() / wanted.file}, or give {option}=PATH; "
            "protocol=judge needs no weights"
        )


def weights_folder() -> Path:
    """Where downloaded weights are kept: $XDG_CACHE_HOME/musicgen_train/weights."""
    cache = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(cache) / "musicgen_train" / "weights"


def find_weights(
    wanted: PublishedWeights, path: Path | str | None, option: str, check: bool = True
) -> Path:
    """The file at `path`, else the downloaded one; UserError if it is not the published one.

    option: the setting that gives `path`, for messages. check=False takes any file at `path`, and
    the record then tells its hash.
    """
    if path is not None:
        found = Path(path)
        if not found.is_file():
            raise UserError(
                f"{option}={path}: no such file; get {wanted.file} from {wanted.address}"
            )
        if check:
            _check(found, wanted, option)
        return found
    found = weights_folder() / wanted.file
    if not found.is_file():
        _download(wanted, found, option)
    _check(found, wanted, option)
    return found


def _check(found: Path, wanted: PublishedWeights, option: str) -> None:
    digest = sha256_of(found)
    if not digest.startswith(wanted.sha256):
        raise UserError(
            f"{found} is not the published {wanted.file}: its sha256 is {digest}, not "
            f"{wanted.sha256}; get it again from {wanted.address}, or give {option}=PATH "
            "check_weights=false to use other weights, whose hash every record will tell"
        )


def _download(wanted: PublishedWeights, place: Path, option: str) -> None:
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        with replacing(place) as partial:
            _fetch(wanted, partial)
            digest = sha256_of(partial)
            if not digest.startswith(wanted.sha256):
                raise OSError(f"what came has sha256 {digest}")
    except (OSError, HTTPException) as error:  # of the network, or of this machine's disk
        raise MissingWeights(wanted, option, _reason(error)) from None


def _fetch(wanted: PublishedWeights, place: Path) -> None:
    from rich.console import Console
    from rich.progress import Progress

    with (
        urllib.request.urlopen(wanted.address, timeout=TIMEOUT) as answer,
        place.open("wb") as file,
        Progress(transient=True, console=Console(stderr=True)) as progress,
    ):
        length = int(answer.headers.get("Content-Length") or 0)
        task = progress.add_task(wanted.file, total=length or None)
        while block := answer.read(BLOCK):
            file.write(block)
            progress.advance(task, len(block))
        if length and file.tell() != length:
            raise OSError(f"the download stopped after {file.tell()} of {length} bytes")


def _reason(error: Exception) -> str:
    """What went wrong, for people: "HTTP 404 Not Found", "Connection refused"."""
    if isinstance(error, HTTPError):
        return f"HTTP {error.code} {error.reason}"
    if isinstance(error, URLError) and isinstance(error.reason, Exception):
        return _reason(error.reason)
    if isinstance(error, HTTPException):
        return f"the download broke off: {type(error).__name__}"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return " ".join(str(error).split())
