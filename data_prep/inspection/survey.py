"""All that is found out about a dataset, before it is shown."""

from dataclasses import dataclass
from typing import Any, NamedTuple

from data_prep.inspection.checks import Checks, check_samples
from data_prep.inspection.failures import Failures, read_failures
from data_prep.inspection.reading import choose_rows, collect_statistics, read_json, reading
from data_prep.inspection.statistics import Statistics
from data_prep.inspection.wording import shown
from musicgen_train.data.index import DatasetIndex
from musicgen_train.errors import UserError


class Sample(NamedTuple):
    """A random segment, whole."""

    key: str
    split: int
    duration: float  # seconds
    metadata: dict[str, Any]
    flac: bytes  # empty if the dataset holds no audio


@dataclass(frozen=True)
class Survey:
    """A dataset's index with what its segments, its failures and its random samples tell."""

    name: str
    index: DatasetIndex
    statistics: Statistics
    failures: Failures
    checks: Checks
    samples: list[Sample]

    @property
    def info(self) -> dict[str, Any]:
        return self.index.info

    @property
    def is_whole(self) -> bool:
        """Whether every segment was read."""
        return self.statistics.n == len(self.index)

    @property
    def tracks(self) -> dict[str, int] | None:
        """How many files were found, kept, filtered and failed, if dataset.json says so."""
        counts = self.info.get("tracks")
        names = ("files", "kept", "filtered", "failed")
        if isinstance(counts, dict) and all(is_count(counts.get(name)) for name in names):
            return counts
        return None

    @property
    def codebooks(self) -> list[tuple[float, float]]:
        """Entropy in nats and share of used codes of each codebook, if both are known of all."""
        columns = [self.info.get(name) for name in ("unigram_entropy", "codebook_usage")]
        if not self.has_codes or not all(isinstance(column, list) for column in columns):
            return []
        entropies, usage = ([float(v) for v in column or [] if _is_share(v)] for column in columns)
        complete = len(entropies) == len(usage) == self.info["n_q"]
        return list(zip(entropies, usage, strict=True)) if complete else []

    @property
    def has_codes(self) -> bool:
        return "codes.npy" in self.index.members


def survey(
    index: DatasetIndex,
    n_players: int = 12,
    n_samples: int | None = None,
    n_checked: int = 100,
    seed: int = 0,
) -> Survey:
    """Look at n_samples segments' metadata (None: all, or 1000 of a URL), decode n_checked ones."""
    _check_info(index)
    statistics = collect_statistics(index, n_samples, seed)
    failures = read_failures(index.folder)
    with reading(index, page_bytes=1 << 20) as reader:
        checks = check_samples(index, reader, choose_rows(index, n_checked, seed).tolist())
        samples = []
        for row in choose_rows(index, n_players, seed + 1).tolist():
            flac = reader.read(row, "flac") if reader.has("flac") else b""
            metadata = read_json(reader, row) or {}
            key, split, duration = index.key(row), int(index.split[row]), float(index.duration[row])
            samples.append(Sample(key, split, duration, metadata, flac))
    name = shown(str(index.folder).rstrip("/").rsplit("/", 1)[-1], 200)
    return Survey(name, index, statistics, failures, checks, samples)


def _check_info(index: DatasetIndex) -> None:
    """Refuse a dataset.json without the numbers that audio and codes are read by."""
    names = [
        "sample_rate",
        *(["n_q", "card", "frame_rate"] if "codes.npy" in index.members else []),
    ]
    for name in names:
        value = index.info.get(name)
        kinds = int | float if name == "frame_rate" else int
        if isinstance(value, bool) or not isinstance(value, kinds) or not 0 < value < 2**31:
            raise UserError(f"{index.folder}: dataset.json gives no {name}; prepare it again")


def is_count(value: Any) -> bool:
    """Whether a value of dataset.json can be a number of things."""
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value < 2**63


def _is_share(value: Any) -> bool:
    return isinstance(value, int | float) and 0 <= value < 64  # nats, or a part of 1
