"""Room for uploads: the oldest ones go when they are too many, and strays of broken uploads too."""

import re
import shutil
import threading
import time
from collections.abc import Iterator
from pathlib import Path

_FOLDER = re.compile(r"[0-9a-f]{64}\Z")  # Gradio puts each upload into a folder named by its bytes
_IN_USE = 900.0  # seconds in which a visitor comes to press the button


class UploadRoom:
    """The uploads in a folder, of which at most `max_bytes` are kept."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._lock = threading.Lock()

    def make(self, incoming: int) -> bool:
        """Remove the oldest uploads until so many bytes more fit; False if they cannot.

        What came within the last minutes stays: somebody is about to use it.
        """
        with self._lock:
            uploads = sorted(self._uploads())
            total = sum(size for _, size, _ in uploads)
            disk = shutil.disk_usage(self._folder).free
            now = time.time()
            for changed, size, path in uploads:
                if total + incoming <= self._max_bytes and incoming < disk / 2:
                    break
                if now - changed > _IN_USE:
                    _remove(path)
                    total, disk = total - size, disk + size
            return total + incoming <= self._max_bytes and incoming < disk / 2

    def _uploads(self) -> Iterator[tuple[float, int, Path]]:
        """When each was changed, its bytes, and its folder, or the file of one that broke off."""
        for path in self._folder.iterdir():
            stray = path.is_file()
            if not stray and not (_FOLDER.match(path.name) and path.is_dir()):
                continue
            try:
                files = [path] if stray else list(path.iterdir())
                states = [file.stat() for file in files]
            except OSError:  # it is being moved
                continue
            changed = max((state.st_mtime for state in states), default=path.stat().st_mtime)
            yield changed, sum(state.st_size for state in states), path


def _remove(path: Path) -> None:
    if path.is_dir():
        shutil.rmtree(path, ignore_errors=True)
    else:
        path.unlink(missing_ok=True)
