"""Which segments are looked at, and what is read of them."""

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.inspection.statistics import Statistics
from data_prep.progress import progress_bar
from musicgen_train.data.index import DatasetIndex
from musicgen_train.data.page_cache import PageCache
from musicgen_train.data.shards import ShardReader
from musicgen_train.data.storage import is_remote

_REMOTE_SAMPLES = 1000  # each takes a request


@contextmanager
def reading(index: DatasetIndex, page_bytes: int) -> Iterator[ShardReader]:
    """A reader that gets pages of so many bytes of remote shards, and leaves no cache behind."""
    with tempfile.TemporaryDirectory(prefix="musicgen_train_") as folder:
        yield ShardReader(index, PageCache(Path(folder), cache_gb=1.0, page_bytes=page_bytes))


def choose_rows(index: DatasetIndex, n: int | None, seed: int) -> np.ndarray:
    """n random rows in the order of the dataset; all of them for None or if there are no more."""
    if n is None or n >= len(index):
        return np.arange(len(index))
    return np.sort(np.random.default_rng(seed).choice(len(index), n, replace=False))


def collect_statistics(index: DatasetIndex, n_samples: int | None, seed: int) -> Statistics:
    """Read the JSON of n_samples random segments; None reads all of a folder, 1000 of a URL."""
    if n_samples is None and is_remote(index.folder):
        n_samples = _REMOTE_SAMPLES
    rows = choose_rows(index, n_samples, seed)
    statistics = Statistics()
    # Between two JSONs lies audio: small pages skip it.
    with (
        reading(index, page_bytes=16 << 10) as reader,
        progress_bar("reading metadata", len(rows)) as bar,
    ):
        for number, row in enumerate(rows.tolist(), 1):
            statistics.add(read_json(reader, row), int(index.split[row]))
            if number % 500 == 0 or number == len(rows):
                bar.advance(number - (number - 1) // 500 * 500)
    return statistics


def read_json(reader: ShardReader, row: int) -> dict[str, Any] | None:
    """What is known of one segment; None if its JSON is damaged."""
    if not reader.has("json"):
        return {}
    data = reader.read(row, "json")  # outside of `try`: a broken shard is another matter
    try:
        found = json.loads(data or b"{}")
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, dict) else None
