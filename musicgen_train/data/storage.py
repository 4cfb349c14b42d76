"""Where a dataset's files lie: a folder, or anything that fsspec has a URL for."""

import os
from collections import OrderedDict
from pathlib import Path

from musicgen_train.errors import UserError

_OPEN_FILES = 128


def is_remote(path: str | Path) -> bool:
    return "://" in str(path)


def read_whole(folder: str | Path, name: str) -> bytes:
    """All of a file of a dataset folder."""
    if is_remote(folder):
        from musicgen_train.data.remote import fetch

        return fetch(f"{folder}/{name}")
    try:
        return (Path(folder) / name).read_bytes()
    except OSError as error:
        raise UserError(f"{folder}/{name}: cannot be read ({error.strerror}); mend that") from None


class LocalShards:
    """Reads stretches of the shards in a folder; safe across forks and pickling."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._descriptors: OrderedDict[str, int] = OrderedDict()  # the one used last stands last

    def read(self, name: str, offset: int, size: int) -> bytes:
        try:
            data = os.pread(self._open(name), size, offset)  # pread: forks share no file position
        except OSError as error:
            raise UserError(
                f"{self.folder / name}: cannot be read ({error.strerror}); mend that"
            ) from None
        if len(data) < size:
            raise UserError(f"{self.folder / name}: is cut short; copy it again")
        return data

    def _open(self, name: str) -> int:
        if name in self._descriptors:
            self._descriptors.move_to_end(name)
            return self._descriptors[name]
        try:
            descriptor = os.open(self.folder / name, os.O_RDONLY)
        except OSError as error:
            raise UserError(
                f"{self.folder / name}: {error.strerror}; the dataset is incomplete"
            ) from None
        if len(self._descriptors) == _OPEN_FILES:
            os.close(self._descriptors.popitem(last=False)[1])
        self._descriptors[name] = descriptor
        return descriptor

    def __getstate__(self) -> dict[str, Path]:
        return {"folder": self.folder}

    def __setstate__(self, state: dict[str, Path]) -> None:
        self.__init__(state["folder"])

    def __del__(self) -> None:
        for descriptor in self._descriptors.values():
            os.close(descriptor)
