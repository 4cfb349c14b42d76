"""Copies of files of runs, which the page may serve although it may not serve the runs."""

import hashlib
import shutil
import threading
from collections import OrderedDict
from pathlib import Path

from musicgen_train.errors import UserError


class ShownFiles:
    """A folder of copies of at most `max_bytes`; those that were asked for longest ago go first."""

    def __init__(self, folder: Path, max_bytes: int) -> None:
        self._folder, self._max_bytes = folder, max_bytes
        self._copies: OrderedDict[Path, int] = OrderedDict()
        self._lock = threading.Lock()

    def copy(self, path: Path) -> Path:
        """The copy of a file as it is now; `UserError` if it cannot be read."""
        with self._lock:
            try:
                state = path.stat()
                name = f"{path}\0{state.st_mtime_ns}\0{state.st_size}"
                key = hashlib.sha256(name.encode("utf-8", "surrogateescape")).hexdigest()
                copy = self._folder / key / path.name
                if not copy.is_file():
                    _write(path, copy)
            except OSError:
                raise UserError(f"{path.name}: is gone; reload the page") from None
            self._copies[copy] = state.st_size
            self._copies.move_to_end(copy)
            self._make_room()
            return copy

    def new_folder(self, name: str) -> Path:
        """A folder to write something in that will be shown; `added` counts it then."""
        folder = self._folder / hashlib.sha256(name.encode("utf-8", "replace")).hexdigest()
        folder.mkdir(parents=True, exist_ok=True)
        return folder

    def added(self, file: Path) -> Path:
        """Count a file that was written into a `new_folder`."""
        with self._lock:
            self._copies[file] = file.stat().st_size
            self._copies.move_to_end(file)
            self._make_room()
        return file

    def _make_room(self) -> None:
        while sum(self._copies.values()) > self._max_bytes and len(self._copies) > 1:
            oldest, _ = self._copies.popitem(last=False)
            oldest.unlink(missing_ok=True)


def _write(path: Path, copy: Path) -> None:
    copy.parent.mkdir(parents=True, exist_ok=True)
    fresh = copy.with_name(f"{copy.name}.new")
    shutil.copyfile(path, fresh)
    fresh.rename(copy)
