"""The songs that all visitors have dropped and not yet begun a fine-tuning with: bounded."""

import hashlib
import shutil
import threading
import time
from pathlib import Path

from musicgen_train.app.request import Limits
from musicgen_train.app.songs import SongFolder

_FORGOTTEN = 24 * 3600.0  # seconds after which songs may go that nobody began anything with


class GatheredSongs:
    """A folder with one of songs for each visitor; safe to use from any thread.

    uploads: the folder that uploads lie in, from which alone songs are taken.
    """

    def __init__(self, root: Path, uploads: Path, limits: Limits) -> None:
        self._root, self._uploads, self._limits = root, uploads, limits
        self._lock = threading.Lock()

    def of(self, visitor: str) -> SongFolder:
        """Where a visitor gathers songs; any token is one, and becomes no folder's name."""
        key = hashlib.sha256(str(visitor).encode("utf-8", "replace")).hexdigest()[:32]
        return SongFolder(self._root / key, self._uploads, self._limits, self._has_room)

    def _has_room(self, incoming: int) -> bool:
        """Whether so many bytes fit; what was forgotten here goes, if they would not."""
        most = self._limits.max_gathered_bytes - incoming
        with self._lock:
            if self._bytes() > most:
                self._forget()
            return self._bytes() <= most

    def _bytes(self) -> int:
        return sum(_size(path) for path in self._root.glob("*/*"))

    def _forget(self) -> None:
        for folder in self._root.glob("*"):
            # Of a folder that is when a song last came or went.
            if time.time() - folder.stat().st_mtime > _FORGOTTEN:
                shutil.rmtree(folder, ignore_errors=True)


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:  # it has just become part of a fine-tuning
        return 0
