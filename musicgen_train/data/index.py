"""A dataset's table of contents: where every member of every sample lies, and `dataset.json`."""

import hashlib
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_train.errors import UserError

FORMAT_VERSION = 1
INDEX_NAME = "index.npz"
INFO_NAME = "dataset.json"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class DatasetIndex:
    """One row per sample, in shard order; `size == 0` marks a member that the sample lacks."""

    folder: Path
    info: dict[str, Any]  # dataset.json
    keys: np.ndarray  # [n] utf-8 bytes
    shard: np.ndarray  # [n] int32
    split: np.ndarray  # [n] uint8, into SPLITS
    duration: np.ndarray  # [n] float64 seconds
    members: tuple[str, ...]  # M extensions, such as "flac"
    offset: np.ndarray  # [n, M] int64 byte offset of the member's data in its shard
    size: np.ndarray  # [n, M] int64 bytes

    def __len__(self) -> int:
        return len(self.keys)

    @property
    def fingerprint(self) -> str:
        return self.info["fingerprint"]

    def rows(self, split: str) -> np.ndarray:
        """Row numbers of one split, in shard order."""
        if split not in SPLITS:
            raise UserError(f"unknown split {split!r}; use one of {', '.join(SPLITS)}")
        return np.flatnonzero(self.split == SPLITS.index(split))

    def key(self, row: int) -> str:
        return self.keys[row].decode()

    def shard_path(self, row: int) -> Path:
        return self.folder / shard_name(int(self.shard[row]))


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def save_index(folder: Path, arrays: dict[str, np.ndarray], shard_digests: list[str]) -> str:
    """Write the index; return the fingerprint of it and the shards (16 hex characters)."""
    with (folder / INDEX_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    digest = hashlib.sha256("".join(shard_digests).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


def load_index(folder: str | Path) -> DatasetIndex:
    """Open a dataset folder that `data_prep.prepare` or `data_prep.tokenize` wrote."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such dataset folder; make one with data_prep.prepare")
    for name in (INDEX_NAME, INFO_NAME):
        if not (folder / name).is_file():
            raise UserError(
                f"{folder}: is not a dataset (no {name}); make one with data_prep.prepare"
            )
    info = json.loads((folder / INFO_NAME).read_text())
    if info.get("format_version") != FORMAT_VERSION:
        raise UserError(
            f"{folder}: dataset format {info.get('format_version')}, this version reads "
            f"{FORMAT_VERSION}; prepare it again"
        )
    with np.load(folder / INDEX_NAME, allow_pickle=False) as stored:
        arrays = {name: stored[name] for name in stored.files}
    if any(b"/" in key or b"." in key for key in arrays["keys"].tolist()):
        raise UserError(f"{folder}: a key in {INDEX_NAME} holds '/' or '.'; prepare it again")
    members = tuple(name.decode() for name in arrays.pop("members"))
    return DatasetIndex(folder=folder, info=info, members=members, **arrays)
