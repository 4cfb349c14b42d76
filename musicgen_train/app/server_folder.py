"""A folder that belongs to one running server, and is removed if that one cannot do it itself."""

import fcntl
import os
import shutil
import tempfile
from pathlib import Path

from musicgen_train.errors import UserError

_MARKER = ".musicgen_train-server"


class ServerFolder:
    """A new folder in `root` that this process holds, readable by its user alone.

    The system lets go of its marker's lock however the process ends; so the next server knows which
    folders beside its own are nobody's, and removes these. What has no marker is left alone.
    """

    def __init__(self, root: Path) -> None:
        try:
            root.mkdir(parents=True, exist_ok=True, mode=0o700)
            _check_owner(root)
            _remove_abandoned(root)
            self.path = Path(tempfile.mkdtemp(prefix="server-", dir=root))
            self._lock = _mark(self.path)
        except OSError as error:
            raise UserError(
                f"{root}: cannot be written ({error.strerror or error}); mend that, or set TMPDIR"
            ) from None

    def remove(self) -> None:
        """Remove the folder with everything in it; more than once does no harm."""
        shutil.rmtree(self.path, ignore_errors=True)
        if self._lock is not None:
            os.close(self._lock)
            self._lock = None


def _check_owner(root: Path) -> None:
    """Refuse a root that another user was quicker to make, who could put anything in its place."""
    if root.is_symlink() or root.stat().st_uid != os.getuid():
        raise UserError(f"{root}: belongs to another user, or is a link: remove it, or set TMPDIR")


def _mark(folder: Path) -> int | None:
    """Put a locked marker into a folder: locked before it has its name, so that none is free."""
    fresh = folder / f"{_MARKER}.new"
    descriptor = os.open(fresh, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    fresh.rename(folder / _MARKER)
    return descriptor


def _remove_abandoned(root: Path) -> None:
    for folder in root.iterdir():
        marker = folder / _MARKER
        if folder.is_symlink() or not marker.is_file() or marker.is_symlink():
            continue
        with marker.open("r+") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:  # its server lives
                continue
            shutil.rmtree(folder, ignore_errors=True)
