"""Open the datasets that are trained on together, and refuse those that do not fit."""

import hashlib
import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicgen_train.data.index import INFO_NAME, DatasetIndex, load_index
from musicgen_train.data.info import check_has
from musicgen_train.data.mixture import quotas
from musicgen_train.data.storage import is_remote
from musicgen_train.errors import UserError

_HEAVIEST = 1e100  # a weight whose sums are finite
# What batches of several datasets must have in common.
_SHAPE = ("codec_identity", "sample_rate", "channels", "frame_rate", "n_q", "card", "chroma")


def open_datasets(
    path: str | Path | Mapping[str, float],
) -> tuple[list[DatasetIndex], list[float]]:
    """A folder or URL, or several with their weights: -> (indexes, weights)."""
    if isinstance(path, str | Path):
        return [load_index(path)], [1.0]
    if not isinstance(path, Mapping):
        raise UserError(f"data.path is {path!r}; give a folder, a URL, or {{A: 0.7, B: 0.3}}")
    if not path:
        raise UserError("data.path is empty; name a dataset")
    for name, weight in path.items():
        if not isinstance(weight, int | float) or not abs(weight) < _HEAVIEST:
            raise UserError(
                f"data.path: the weight of {name} is {repr(weight)[:40]}; give a number (on a "
                "command line, write a URL's colon as \\:)"
            )
    indexes = [load_index(name) for name in path]
    first = indexes[0]
    for index in indexes[1:]:
        for name in _SHAPE:
            if index.info.get(name) != first.info.get(name):
                raise UserError(
                    f"{index.folder}: {name} is {index.info.get(name)}, but that of "
                    f"{first.folder} is {first.info.get(name)}; prepare both alike to mix them"
                )
    known: dict[str, DatasetIndex] = {}
    for index in indexes:
        if known.setdefault(index.fingerprint, index) is not index:
            raise UserError(
                f"{index.folder}: is the same dataset as {known[index.fingerprint].folder}; name "
                "it once, with the sum of both weights"
            )
    return indexes, [float(weight) for weight in path.values()]


def joint_fingerprint(indexes: Sequence[DatasetIndex], weights: Sequence[float]) -> str:
    """What a checkpoint knows its data by; that of a lone dataset is its own."""
    if len(indexes) == 1:
        return indexes[0].fingerprint
    shares = quotas(weights)  # what decides the order: {A: 1, B: 2} is {A: 2, B: 4}
    parts = [f"{index.fingerprint} {n}" for index, n in zip(indexes, shares, strict=True)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def shuffled_shards(indexes: Sequence[DatasetIndex], shuffle_shards: int | None) -> list[int]:
    """Shards in a block of each dataset's shuffle; 0 shuffles all at once."""
    if shuffle_shards is not None and shuffle_shards < 0:
        raise UserError(f"shuffle_shards is {shuffle_shards}; use 0 for all, or a number of shards")
    remote = [is_remote(index.folder) for index in indexes]
    if shuffle_shards is None:
        return [16 if far else 0 for far in remote]
    return [shuffle_shards] * len(indexes)


def check_cache(indexes: Sequence[DatasetIndex], blocks: Sequence[int], limit: int) -> None:
    """Refuse a cache smaller than what is shuffled together: all would be fetched many times."""
    needed = 0
    for index, block in zip(indexes, blocks, strict=True):
        if is_remote(index.folder):
            sizes = sorted(index.shard_sizes().values(), reverse=True)
            needed += sum(sizes[: block or None])
    if needed > limit:
        raise UserError(
            f"cache_gb={limit / 1e9:g} cannot hold the {needed / 1e9:.3g} GB that are shuffled "
            "together; raise it, or lower shuffle_shards (a resumed run keeps its checkpoint's)"
        )


def check_dataset(
    info: dict[str, Any],
    path: str | Path,
    kind: str,
    expected: dict[str, Any],
    segment_duration: float | None,
) -> None:
    """Refuse a dataset that lacks what is asked for or was made for another codec."""
    needed = ["sample_rate", "channels", "segment_duration", "members"]
    if kind == "codes":
        needed += ["n_q", "card", "frame_rate"]
    if kind == "codes" and info.get("codec_identity") is None:
        raise UserError(f"{path}: holds no codes; run data_prep.tokenize on it first")
    if kind == "audio" and "flac" not in info.get("members", []):
        raise UserError(f"{path}: holds no audio; use the dataset that it was tokenised from")
    if "chroma.npy" in info.get("members", []):
        needed.append("chroma")
    try:
        check_has(info, needed)
    except ValueError as error:
        raise UserError(f"{path}: {INFO_NAME} is damaged ({error}); prepare it again") from None
    for name, value in expected.items():
        if value is None or (kind == "audio" and name not in ("sample_rate", "channels")):
            continue
        if info[name] != value:
            raise UserError(
                f"{path}: {name} is {info[name]}, but the codec's is {value}; "
                "prepare and tokenise the music with this codec"
            )
    if segment_duration is not None and segment_duration > info["segment_duration"]:
        raise UserError(
            f"{path}: segments last {info['segment_duration']} s, but segment_duration is "
            f"{segment_duration}; prepare the music with longer segments"
        )


def check_numbers(
    batch_size: int,
    num_workers: int,
    segment_duration: float | None,
    max_bad: float,
    cache_gb: float,
) -> None:
    """Refuse numbers that no loader can work with."""
    if not isinstance(batch_size, int) or batch_size < 1:
        raise UserError(f"batch_size is {batch_size}; use a whole number, at least 1")
    if not isinstance(num_workers, int) or num_workers < 0:
        raise UserError(f"num_workers is {num_workers}; use a whole number, at least 0")
    if segment_duration is not None and not 1e-3 <= _number(segment_duration) < math.inf:
        raise UserError(
            f"segment_duration is {segment_duration}; use seconds above 0, or null for whole "
            "segments"
        )
    if not 0 <= _number(max_bad) <= 1:
        raise UserError(f"max_bad is {max_bad}; use a share, 0 to 1")
    if not 0 < _number(cache_gb) < math.inf:
        raise UserError(f"cache_gb is {cache_gb}; use gigabytes above 0")


def _number(value: object) -> float:
    """The value; NaN, which no range holds, if it is no number."""
    return value if isinstance(value, int | float) else math.nan
