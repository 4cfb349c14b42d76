"""Parts: the finished work on one track or one shard, each a small tar that appears whole.

A part holds samples `000000.flac`, `000000.json`, … in order, and last a `report.json` of what the
whole is, with its arrays beside it.
"""

import io
import json
import os
import shutil
import tarfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

REPORT = "report"


class PartWriter:
    """Fill one part: samples, then the report."""

    def __init__(self, tar: Any) -> None:
        self._tar = tar
        self.n_samples = 0

    def add(self, files: dict[str, bytes]) -> None:
        """Append one sample: extension -> bytes."""
        self._tar.write({"__key__": f"{self.n_samples:06d}", **files})
        self.n_samples += 1

    def finish(self, report: dict[str, Any], **arrays: np.ndarray) -> None:
        files = {f"{name}.npy": npy_bytes(array) for name, array in arrays.items()}
        text = json.dumps(report, ensure_ascii=False)
        self._tar.write({"__key__": REPORT, "json": text.encode(), **files})


@contextmanager
def writing_part(path: Path) -> Iterator[PartWriter]:
    """Write a part beside its name; it takes the name once it is whole."""
    from webdataset.writer import TarWriter

    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = path.with_name(f".{path.stem}.{os.getpid()}.tmp")
    try:
        with temporary.open("wb") as file, TarWriter(file, encoder=False, mtime=0.0) as tar:
            yield PartWriter(tar)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def part_path(folder: Path, key: str) -> Path:
    """Where the part of this key lies; folders stay small however many there are."""
    return folder / "parts" / key[:2] / f"{key}.tar"


def scratch_folder(folder: Path) -> Path:
    """Where workers keep what they need for a moment, such as copies of remote files."""
    return folder / "scratch"


def remove_unfinished(folder: Path) -> None:
    """Remove what killed workers left."""
    shutil.rmtree(scratch_folder(folder), ignore_errors=True)
    for path in (folder / "parts").rglob("*.tmp"):
        path.unlink(missing_ok=True)


def read_report(path: Path) -> tuple[dict[str, Any], dict[str, np.ndarray]] | None:
    """The report of a part and its arrays; None if the part is absent or damaged."""
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(path, "r:") as tar:
            for member in tar:
                key, extension = member.name.split(".", 1)
                if key == REPORT:
                    found[extension] = _content(tar, member)
        report = json.loads(found.pop("json"))
        arrays = {name.removesuffix(".npy"): npy_array(data) for name, data in found.items()}
    except (OSError, tarfile.TarError, KeyError, ValueError):
        return None
    return report, arrays


def read_samples(path: Path) -> Iterator[dict[str, bytes]]:
    """Yield extension -> bytes of each sample of a part, in order."""
    current, files = "", {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            key, extension = member.name.split(".", 1)
            if key != current and files:
                yield files
                files = {}
            if key == REPORT:
                return
            current = key
            files[extension] = _content(tar, member)


def npy_bytes(array: np.ndarray) -> bytes:
    """An array as the content of an .npy file."""
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array), allow_pickle=False)
    return buffer.getvalue()


def npy_array(data: bytes) -> np.ndarray:
    """The array in the content of an .npy file."""
    return np.load(io.BytesIO(data), allow_pickle=False)


def _content(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    file = tar.extractfile(member)
    if file is None:
        raise ValueError(f"{member.name} is no file")
    return file.read()
