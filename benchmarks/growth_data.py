"""Opening a dataset, its first batch, and reading it from afar, against its size."""

import gc
import json
import os
import tempfile
from pathlib import Path
from typing import Any
from unittest.mock import patch

import numpy as np

from benchmarks.data_loading import write_shards
from benchmarks.growth_fit import Curve
from benchmarks.memory import added_mib, in_fresh_process, status_mib
from benchmarks.timing import device_seconds, one_thread

IN_A_SHARD = 1000  # samples of the one shard that is written; all others are links to it
SAMPLES = (1000, 10_000, 100_000, 1_000_000)
SHARDS = (10, 100, 1000, 10_000)  # of a dataset behind a URL
PAGES = 8  # of which so many are read
LINEAR = (0.0, 1.0)


def make_dataset(folder: Path, shard: Path, n_samples: int) -> None:
    """A dataset of so many samples: the same shard under many names, each sample with its key."""
    from musicgen_train.data.index import INFO_NAME, load_index, save_index, shard_name

    one = load_index(shard)
    times = -(-n_samples // len(one))
    folder.mkdir()
    for number in range(times):
        os.link(shard / shard_name(0), folder / shard_name(number))
    rows = np.arange(n_samples)
    within = rows % len(one)
    arrays = {
        "keys": np.array([b"%032x_%04d" % divmod(row, 8) for row in range(n_samples)]),
        "shard": (rows // len(one)).astype(np.int32),
        "split": one.split[within],
        "duration": one.duration[within],
        "members": np.array([name.encode() for name in one.members]),
        "offset": one.offset[within],
        "size": one.size[within],
    }
    shards = one.info["shards"] * times
    fingerprint = save_index(folder, arrays, [entry["sha256"] for entry in shards])
    info = one.info | {"shards": shards, "samples": n_samples, "fingerprint": fingerprint}
    (folder / INFO_NAME).write_text(json.dumps(info))


def open_point(folder: str) -> dict[str, float]:
    """Seconds until the index is open, and until a first batch; MiB at its peak, and held."""
    from musicgen_train.data.datamodule import MusicDataModule
    from musicgen_train.data.index import load_index

    one_thread()
    before = status_mib("RssAnon")
    kept: list[Any] = []
    opened = device_seconds(lambda: kept.append(load_index(folder)), "cpu")
    gc.collect()
    held = status_mib("RssAnon") - before
    kept.clear()

    def first_batch() -> None:
        next(iter(MusicDataModule(folder, "codes", batch_size=8).train_dataloader()))

    return {"open": opened, "first": device_seconds(first_batch, "cpu"), "held": held}


def peak_point(folder: str) -> float:
    """MiB that opening the index takes at its peak."""
    from musicgen_train.data.index import load_index

    return added_mib(lambda: load_index(folder))


def index_curves() -> list[Curve]:
    """Datasets of a thousand to a million samples of 30 s."""
    points: dict[int, dict[str, float]] = {}
    with tempfile.TemporaryDirectory() as name:
        shard = write_shards(Path(name) / "one", "codes", IN_A_SHARD)
        for n in SAMPLES:
            folder = Path(name) / f"of_{n}"
            in_fresh_process(make_dataset, folder, shard, n)
            points[n] = in_fresh_process(open_point, str(folder))
            points[n]["peak"] = in_fresh_process(peak_point, str(folder))
    words = {
        "open": ("time to open the index", "s"),
        "first": ("time to open and give a first batch", "s"),
        "held": ("memory of the index", "MiB"),
        "peak": ("memory of opening it, at its peak", "MiB"),
    }
    return [
        Curve(
            "data", "dataset against its samples", "samples", word, unit, LINEAR,
            [(float(n), point[key]) for n, point in points.items()],
        )
        for key, (word, unit) in words.items()
    ]  # fmt: skip


def remote_point(n_shards: int) -> float:
    """KiB that are read beside each page of a dataset with so many shards, behind a URL."""
    from fsspec.implementations.memory import MemoryFileSystem

    from musicgen_train.data.index import INFO_NAME, shard_name
    from musicgen_train.data.page_cache import PageCache
    from musicgen_train.data.remote import RemoteShards

    page = 1 << 16
    shards = [
        {"name": shard_name(i), "split": "train", "samples": 9, "bytes": page, "sha256": "0" * 64}
        for i in range(n_shards)
    ]
    files = MemoryFileSystem()
    info = json.dumps({"shards": shards, "fingerprint": "0" * 16}, indent=2)
    files.pipe(f"/growth/{INFO_NAME}", info.encode())
    for number in range(PAGES + 1):
        files.pipe(f"/growth/{shard_name(number)}", bytes(page))
    read = [0]
    cat_file = MemoryFileSystem.cat_file

    def counting(*args: Any, **options: Any) -> bytes:
        found = cat_file(*args, **options)
        read[0] += len(found)
        return found

    with (
        tempfile.TemporaryDirectory() as name,
        patch.object(MemoryFileSystem, "cat_file", counting),
    ):
        sizes = {shard["name"]: page for shard in shards}
        far = RemoteShards("memory://growth", "0" * 16, sizes, PageCache(Path(name), 1.0, page))
        far.read(shard_name(0), 0, page)  # the first page of a process looks at everything
        read[0] = 0
        for number in range(1, PAGES + 1):
            far.read(shard_name(number), 0, page)
    return (read[0] / PAGES - page) / 2**10


def remote_curve() -> Curve:
    """What a page costs beside its own bytes."""
    points = [(float(n), in_fresh_process(remote_point, n)) for n in SHARDS]
    title = "dataset behind a URL against its shards"
    return Curve("data", title, "shards", "bytes beside a page", "KiB", (0, 0), points)


def curves() -> list[Curve]:
    """All of a dataset's."""
    return [*index_curves(), remote_curve()]
