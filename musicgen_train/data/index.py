"""A dataset's table of contents: where every member of every sample lies, and `dataset.json`."""

import hashlib
import io
import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_train.data.info import check_info
from musicgen_train.data.storage import is_remote, read_whole
from musicgen_train.errors import UserError

FORMAT_VERSION = 1
INDEX_NAME = "index.npz"
INFO_NAME = "dataset.json"
SPLITS = ("train", "valid", "test")


@dataclass(frozen=True)
class DatasetIndex:
    """One row per sample, in shard order; `size == 0` marks a member that the sample lacks."""

    folder: Path | str  # or a URL
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

    def shard_name(self, row: int) -> str:
        return shard_name(int(self.shard[row]))

    def shard_path(self, row: int) -> Path:
        """Where a sample's shard lies in a dataset that is a folder."""
        return Path(self.folder) / self.shard_name(row)

    def shard_sizes(self) -> dict[str, int]:
        """Bytes of each shard, by name."""
        return {shard_name(i): shard["bytes"] for i, shard in enumerate(self.info["shards"])}


def shard_name(number: int) -> str:
    return f"shard-{number:06d}.tar"


def save_index(folder: Path, arrays: dict[str, np.ndarray], shard_digests: list[str]) -> str:
    """Write the index; return the fingerprint of it and the shards (16 hex characters)."""
    with (folder / INDEX_NAME).open("wb") as file:
        np.savez(file, allow_pickle=False, **arrays)
    return _fingerprint(arrays, shard_digests)


def _fingerprint(arrays: dict[str, np.ndarray], shard_digests: list[str]) -> str:
    digest = hashlib.sha256("".join(shard_digests).encode())
    for name in sorted(arrays):
        digest.update(name.encode() + b"\0" + np.ascontiguousarray(arrays[name]).tobytes())
    return digest.hexdigest()[:16]


def load_index(folder: str | Path) -> DatasetIndex:
    """Open a dataset that `data_prep.prepare` or `data_prep.tokenize` wrote: a folder or a URL."""
    if is_remote(folder):
        folder = str(folder).rstrip("/")
    else:
        folder = Path(folder)
        if not folder.is_dir():
            raise UserError(f"{folder}: no such dataset folder; make one with data_prep.prepare")
        for name in (INDEX_NAME, INFO_NAME):
            if not (folder / name).is_file():
                raise UserError(
                    f"{folder}: is not a dataset (no {name}); make one with data_prep.prepare"
                )
    info = _load_info(folder)
    arrays = _load_arrays(folder)
    try:
        _check_arrays(arrays, info)
        digests = [shard["sha256"] for shard in info["shards"]]
        if _fingerprint(arrays, digests) != info["fingerprint"]:
            raise ValueError("it belongs to another dataset.json")
    except (KeyError, TypeError, ValueError, IndexError) as error:
        raise UserError(f"{folder}: {INDEX_NAME} is damaged ({error}); prepare it again") from None
    members = tuple(name.decode() for name in arrays.pop("members"))
    return DatasetIndex(folder=folder, info=info, members=members, **arrays)


def _load_info(folder: str | Path) -> dict[str, Any]:
    text = read_whole(folder, INFO_NAME)
    try:
        info = json.loads(text)
        version = info.get("format_version") if isinstance(info, dict) else "unknown"
        if type(version) is int and version == FORMAT_VERSION:
            check_info(info)
            return info
    except (ValueError, RecursionError) as error:
        raise UserError(f"{folder}: {INFO_NAME} is damaged ({error}); prepare it again") from None
    raise UserError(
        f"{folder}: dataset format {version!r:.40}, this version reads "
        f"{FORMAT_VERSION}; prepare it again"
    )


def _load_arrays(folder: str | Path) -> dict[str, np.ndarray]:
    remote = is_remote(folder)
    source = io.BytesIO(read_whole(folder, INDEX_NAME)) if remote else Path(folder) / INDEX_NAME
    try:
        with np.load(source, allow_pickle=False) as stored:
            return {name: stored[name] for name in stored.files}
    except Exception as error:  # zip, zlib and npy each have kinds of their own
        reason = " ".join(str(error).split())
        raise UserError(f"{folder}: {INDEX_NAME} is damaged ({reason}); prepare it again") from None


_KINDS = {  # of NumPy's, by array
    "keys": "S", "shard": "i", "split": "u", "duration": "f", "members": "S",
    "offset": "i", "size": "i",
}  # fmt: skip


def _check_arrays(arrays: dict[str, np.ndarray], info: dict[str, Any]) -> None:
    """Refuse arrays of other kinds or shapes, and places outside the shards; raises ValueError."""
    n, n_members = len(arrays["keys"]), len(arrays["members"])
    shapes = dict.fromkeys(("keys", "shard", "split", "duration"), (n,))
    shapes |= dict.fromkeys(("offset", "size"), (n, n_members)) | {"members": (n_members,)}
    found = {name: array.shape for name, array in arrays.items()}
    if found != shapes:
        raise ValueError(f"its arrays have shapes {found}")
    for name, array in arrays.items():
        if array.size and array.dtype.kind != _KINDS[name]:
            raise ValueError(f"its {name} are {array.dtype}")
    _check_names(arrays["keys"], arrays["members"], info)
    sizes = np.array([shard["bytes"] for shard in info["shards"]], np.int64)
    offset, size = arrays["offset"], arrays["size"]
    if n and (arrays["shard"].min() < 0 or min(offset.min(), size.min()) < 0):
        raise ValueError("a place in it is negative")
    ends = sizes[arrays["shard"]][:, None] - size
    if (offset > ends).any() or (arrays["split"] >= len(SPLITS)).any():
        raise ValueError("a place in it lies outside its shard")
    if not (np.isfinite(arrays["duration"]) & (arrays["duration"] > 0)).all():
        raise ValueError("a duration in it is not above 0")


def _check_names(keys: np.ndarray, members: np.ndarray, info: dict[str, Any]) -> None:
    """Refuse keys that would be paths or break a message's line, and what comes twice."""
    if keys.size == 0:
        return
    text = keys.tobytes()  # padded with zeros
    if b"/" in text or b"." in text or re.search(rb"[\x01-\x1f]", text):
        raise ValueError("a key in it holds '/', '.' or a control character")
    listed = keys.tolist()
    if not text.isascii():
        for key in listed:
            key.decode()  # UnicodeDecodeError is a ValueError
    if len(set(listed)) < len(listed):
        raise ValueError("a key in it comes twice")
    names = [name.decode() for name in members.tolist()]
    if len(set(names)) < len(names) or "json" not in names:
        raise ValueError(f"its members are {names}: one comes twice, or json is absent")
    if info.get("members", names) != names:
        raise ValueError(f"its members are {names}, {INFO_NAME} says {info['members']}")
