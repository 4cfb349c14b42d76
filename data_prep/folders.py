"""Output folders that appear complete or not at all, and that a kill only interrupts."""

import errno
import fcntl
import os
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from musicgen_train.errors import UserError

DISK_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
WORK = "work"  # what a later run can go on from; it lies in the unfinished folder


class NothingUsable(UserError):
    """The work is done and gave nothing: there is nothing to go on from."""


@contextmanager
def resumable_folder(path: Path) -> Iterator[Path]:
    """Give a folder to fill, which becomes `path` at the end; its `work` folder survives a kill.

    Nothing but finished work is left of a run that ended early, and nothing at all if there is
    none.
    """
    if re.match(r"\w\w+:/", str(path)):
        raise UserError(f"{path}: datasets are written to local folders; copy it there afterwards")
    path = Path(os.path.abspath(path))
    partial = path.with_name(f".{path.name}.partial")
    work = partial / WORK
    _refuse_existing(path)
    _make(work)
    with alone_in(partial):
        _refuse_existing(path)  # another run may have finished it while this one came in
        _empty(partial)
        try:
            yield partial
            _refuse_existing(path)
        except BaseException as error:
            _empty(partial)
            if isinstance(error, NothingUsable) or not any(work.rglob("*.tar")):
                shutil.rmtree(partial)
            if isinstance(error, KeyboardInterrupt):
                raise UserError(f"{path}: interrupted; run the same command to go on") from None
            if isinstance(error, OSError) and error.errno in DISK_FULL:
                raise UserError(
                    f"{partial}: {error.strerror}; make room and run this again: what is finished "
                    "is kept"
                ) from None
            raise
        # The work goes first: until the rename, a run that is killed here can do it again.
        shutil.rmtree(work)
        os.replace(partial, path)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Refuse to work in a folder that another process works in; a kill ends its claim.

    The claim is on the folder itself, and goes with it when it is renamed.
    """
    _make(folder)
    try:
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be opened ({error.strerror}); choose another folder"
        ) from None
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UserError(
                f"{folder}: another run is writing here; wait for it, or stop it"
            ) from None
        if not os.path.lexists(folder) or not os.path.samestat(
            os.fstat(descriptor), os.stat(folder)
        ):
            raise UserError(f"{folder}: another run has just finished here; look at its dataset")
        yield
    finally:
        os.close(descriptor)


def _refuse_existing(path: Path) -> None:
    if os.path.lexists(path):
        raise UserError(f"{path}: exists already; choose another output_dir or remove it")


def _make(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(
            f"{folder}: cannot be written ({error.strerror}); choose another folder"
        ) from None


def _empty(partial: Path) -> None:
    """Remove what an interrupted packing left beside the work."""
    for entry in partial.iterdir():
        if entry.name != WORK:
            entry.unlink()
