"""Write samples into webdataset tar shards with an index, and read any member straight back."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections import Counter
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np

from musicgen_train.data.index import (
    FORMAT_VERSION,
    INFO_NAME,
    SPLITS,
    DatasetIndex,
    save_index,
    shard_name,
)
from musicgen_train.data.page_cache import PageCache
from musicgen_train.data.storage import LocalShards, is_remote

if TYPE_CHECKING:
    from musicgen_train.data.remote import RemoteShards

_GAP = 16 << 10  # bytes that are sooner read than skipped


class DatasetWriter:
    """Fill a folder with shards, the index and `dataset.json`; equal samples give equal bytes.

    A shard holds samples of one split only, so that who reads one split of remote data fetches
    nothing else. Leaving the context early closes the open shard.
    """

    def __init__(self, folder: Path, members: Sequence[str], shard_bytes: int = 256 << 20) -> None:
        assert shard_bytes > 0, shard_bytes
        self.folder = folder
        self.members = tuple(members)
        self.shard_bytes = shard_bytes
        self._file: Any = None  # the open shard …
        self._tar: Any = None  # … and the tar written to it
        self._shards: list[dict[str, Any]] = []
        self._rows: list[tuple[str, str, float]] = []  # key, split, duration

    def write(self, key: str, files: dict[str, bytes], split: str, duration: float) -> None:
        """Append one sample: `files` maps an extension (a name in `members`) to its bytes."""
        assert files and set(files) <= set(self.members), (list(files), self.members)
        if "." in key or "/" in key:  # webdataset cuts the key at the first dot
            raise ValueError(f"sample key {key!r} must hold neither '.' nor '/'")
        if self._is_full(split):
            self._close_shard()
            self._tar = self._open_shard(split)
        self._tar.write({"__key__": key, **files})
        self._shards[-1]["samples"] += 1
        self._rows.append((key, split, duration))

    def close(self, info: dict[str, Any]) -> dict[str, Any]:
        """Finish the last shard, write the index and `dataset.json`, and return the latter."""
        self._close_shard()
        digests = [shard["sha256"] for shard in self._shards]
        fingerprint = save_index(self.folder, self._index_arrays(), digests)
        info = {
            "format_version": FORMAT_VERSION,
            **info,
            **count_samples([row[1:] for row in self._rows]),
            "members": list(self.members),
            "shards": self._shards,
            "fingerprint": fingerprint,
        }
        (self.folder / INFO_NAME).write_text(json.dumps(info, indent=2) + "\n")
        return info

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._tar is not None:
            with suppress(OSError):  # of a full disk, which is being told already
                self._tar.close()
            self._file.close()

    def _is_full(self, split: str) -> bool:
        """Whether a sample of this split belongs into a new shard."""
        if self._tar is None or self._shards[-1]["split"] != split:
            return True
        return self._tar.tarstream.offset >= self.shard_bytes

    def _open_shard(self, split: str) -> Any:
        from webdataset.writer import TarWriter

        name = shard_name(len(self._shards))
        self._file = (self.folder / name).open("wb")
        self._shards.append({"name": name, "split": split, "samples": 0})
        return TarWriter(self._file, encoder=False, mtime=0.0)

    def _close_shard(self) -> None:
        if self._tar is None:
            return
        self._tar.close()
        self._file.close()
        self._tar = None
        path = self.folder / self._shards[-1]["name"]
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
        self._shards[-1] |= {"bytes": path.stat().st_size, "sha256": digest}

    def _index_arrays(self) -> dict[str, np.ndarray]:
        """Read the members' places from the finished tar files, the only ones that know them."""
        n = len(self._rows)
        row_of = {key: row for row, (key, _, _) in enumerate(self._rows)}
        assert len(row_of) == n, "sample keys must be unique"
        shard = np.zeros(n, np.int32)
        offset = np.zeros((n, len(self.members)), np.int64)
        size = np.zeros((n, len(self.members)), np.int64)
        for number, entry in enumerate(self._shards):
            with tarfile.open(self.folder / entry["name"], "r:") as tar:
                for member in tar:
                    key, extension = member.name.split(".", 1)
                    place = row_of[key], self.members.index(extension)
                    shard[place[0]] = number
                    offset[place], size[place] = member.offset_data, member.size
        return {
            "keys": np.array([row[0].encode() for row in self._rows]),
            "shard": shard,
            "split": np.array([SPLITS.index(row[1]) for row in self._rows], np.uint8),
            "duration": np.array([row[2] for row in self._rows], np.float64),
            "members": np.array([name.encode() for name in self.members]),
            "offset": offset,
            "size": size,
        }


def count_samples(rows: Sequence[tuple[str, float]]) -> dict[str, Any]:
    """Count (split, duration) rows: samples and hours, in all and by split."""
    samples = Counter(split for split, _ in rows)
    seconds = {name: sum(d for split, d in rows if split == name) for name in SPLITS}
    return {
        "samples": len(rows),
        "hours": round(sum(seconds.values()) / 3600, 6),
        "splits": {
            name: {"samples": samples[name], "hours": round(seconds[name] / 3600, 6)}
            for name in SPLITS
        },
    }


class ShardReader:
    """Random access to the members of a dataset's samples; safe across forks and pickling."""

    def __init__(self, index: DatasetIndex, cache: PageCache | None = None) -> None:
        """`cache` keeps what is read of a remote dataset; None takes the user's common one."""
        self.index = index
        self._shards: LocalShards | RemoteShards
        if is_remote(index.folder):
            from musicgen_train.data.remote import RemoteShards

            self._shards = RemoteShards(
                str(index.folder), index.fingerprint, index.shard_sizes(), cache or PageCache()
            )
        else:
            self._shards = LocalShards(Path(index.folder))

    def has(self, member: str) -> bool:
        return member in self.index.members

    def read(self, row: int, member: str) -> bytes:
        """Bytes of one member of the sample in `row`; empty if the sample lacks it."""
        return self.read_members(row, [member])[0]

    def read_members(self, row: int, members: Sequence[str]) -> list[bytes]:
        """Bytes of several members at once: those that lie side by side take one read."""
        columns = [self.index.members.index(member) for member in members]
        offsets = self.index.offset[row, columns].tolist()
        sizes = self.index.size[row, columns].tolist()
        name = self.index.shard_name(row)
        found = [b""] * len(columns)
        for stretch in _stretches(offsets, sizes):
            begin = offsets[stretch[0]]
            end = offsets[stretch[-1]] + sizes[stretch[-1]]
            data = self._shards.read(name, begin, end - begin)
            for i in stretch:
                found[i] = data[offsets[i] - begin : offsets[i] - begin + sizes[i]]
        return found


def _stretches(offsets: list[int], sizes: list[int]) -> list[list[int]]:
    """Group members that lie close together, in the order in which they lie; no empty ones."""
    stretches: list[list[int]] = []
    for i in sorted((i for i, size in enumerate(sizes) if size), key=offsets.__getitem__):
        last = stretches[-1][-1] if stretches else None
        if last is not None and offsets[i] - offsets[last] - sizes[last] <= _GAP:
            stretches[-1].append(i)
        else:
            stretches.append([i])
    return stretches
