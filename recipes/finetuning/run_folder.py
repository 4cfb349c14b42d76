"""Where everything of a fine-tuning lies: runs/NAME, which one process at a time works in."""

import errno
import json
import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.whole_files import write_json

DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM)


@dataclass(frozen=True)
class RunFolder:
    """The places of one run."""

    name: str

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    @property
    def path(self) -> Path:
        """The folder, relative to where the command runs, as train.py's."""
        return Path("runs") / self.name

    @property
    def owner(self) -> Path:
        """Whose songs these are."""
        return self.path / "finetune.json"

    @property
    def captions(self) -> Path:
        """A line for each song, to be edited."""
        return self.path / "captions.jsonl"

    @property
    def status(self) -> Path:
        """What is going on, for programs."""
        return self.path / "status.json"

    @property
    def estimate(self) -> Path:
        """The same of a look at what a run would take."""
        return self.path / "estimate.json"

    def record(self, stage: str) -> Path:
        """What a stage was done with."""
        return self.path / "stages" / f"{stage}.json"


@contextmanager
def claimed(run: RunFolder, input_dir: str) -> Iterator[None]:
    """Make the run's folder this process's own; refuse that of other songs, or of another kind."""
    from data_prep.folders import alone_in

    path, songs = run.path, Path(input_dir).resolve()
    with disk_faults_told(path):
        _check_owner(run, songs, input_dir)
    with alone_in(path), disk_faults_told(path):
        write_json(run.owner, {"input_dir": str(songs)})
        yield


def _check_owner(run: RunFolder, songs: Path, input_dir: str) -> None:
    path = run.path
    if path.resolve().is_relative_to(songs):
        raise UserError(
            f"{path} would lie in input_dir={input_dir}, and its clips would count as songs: "
            "start from another folder, or move the songs into one of their own"
        )
    if path.exists() and not run.owner.exists() and any(path.iterdir()):
        raise UserError(f"{path} exists and is no fine-tuning: choose another name=…")
    if run.owner.exists():
        theirs = read_json(run.owner).get("input_dir")
        if theirs != str(songs):
            raise UserError(f"{path} is of the songs in {theirs}: choose another name=…")


@contextmanager
def disk_faults_told(path: Path) -> Iterator[None]:
    """Say in one line that the disk is full, or may not be written to."""
    try:
        yield
    except OSError as error:
        if error.errno not in DISK:
            raise
        raise UserError(
            f"{error.filename or path}: {error.strerror}; mend that and run this again: what is "
            "finished is kept"
        ) from None


@contextmanager
def whole_folder(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the name `path` if the block succeeds."""
    partial = path.with_name(f".{path.name}.partial")
    remove(partial)
    partial.mkdir(parents=True)
    yield partial
    remove(path)
    os.replace(partial, path)


def remove(path: Path) -> None:
    """Remove a file or a folder, if it is there."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def read_json(path: Path) -> dict[str, Any]:
    """The mapping of a JSON file that this recipe wrote; {} if it is not one."""
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return content if isinstance(content, dict) else {}


def json_lines(path: Path) -> list[Any]:
    """The whole lines of a JSONL file, which may be growing or absent."""
    found = []
    try:
        text = path.read_text(encoding="utf-8")
    except OSError:
        return []
    for line in text.splitlines():
        with suppress(ValueError):
            found.append(json.loads(line))
    return found
