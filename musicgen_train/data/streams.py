"""Batches of segments in order: endless and shuffled to train on, finite and in order to check."""

import itertools
from collections.abc import Iterator, Sequence
from typing import NamedTuple

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from musicgen_train.data.batches import AudioBatch, CodesBatch, Sample
from musicgen_train.data.left_out import Fault
from musicgen_train.data.mixture import SampleOrder
from musicgen_train.data.order import finite_batches, step_positions, uniform
from musicgen_train.data.segments import BadSample, SegmentReader
from musicgen_train.errors import UserError


class Source(NamedTuple):
    """The samples of one dataset that a stream draws from."""

    segments: SegmentReader
    rows: np.ndarray


class Wanted(NamedTuple):
    """One sample of a batch to be read."""

    source: Source
    number: int  # among the source's rows
    where: float  # in [0, 1): where the crop begins
    seed: int  # see CodesBatch


class Loaded(NamedTuple):
    """What a worker hands over: errors travel as values, which keeps them one line."""

    batch: CodesBatch | AudioBatch | None  # None if no sample could be read
    n_samples: int  # those left out included
    faults: list[Fault]
    error: str | None = None  # why no further sample can be read


class TrainStream(IterableDataset):
    """Endless batches; worker w of W makes steps w, w + W, …, and the loader interleaves them."""

    def __init__(self, sources: Sequence[Source], order: SampleOrder, batch_size: int) -> None:
        assert batch_size > 0, batch_size
        self.sources = sources
        self.order = order
        self.batch_size = batch_size
        self.start, self.rank, self.world_size = 0, 0, 1

    def place(self, start: int, rank: int, world_size: int) -> None:
        """Begin the next iteration at stream position `start`, for one rank of many."""
        self.start, self.rank, self.world_size = start, rank, world_size

    def __iter__(self) -> Iterator[Loaded]:
        return _until_error(self._read_all())

    def _read_all(self) -> Iterator[Loaded]:
        worker, n_workers = _worker()
        for step in itertools.count(worker, n_workers):
            draws = [
                self.order.locate(position)
                for position in step_positions(
                    self.start, step, self.batch_size, self.rank, self.world_size
                )
            ]
            yield read_batch(
                [Wanted(self.sources[d.dataset], d.sample, d.where, d.seed) for d in draws]
            )


class EvalStream(IterableDataset):
    """Every sample once, in order, always with the same crop."""

    def __init__(self, sources: Sequence[Source], batch_size: int) -> None:
        self.sources = sources
        self.batch_size = batch_size
        self.rank, self.world_size = 0, 1
        # Where each dataset's samples begin among all.
        self._begins = np.cumsum([0, *(len(source.rows) for source in sources)])

    def place(self, rank: int, world_size: int) -> None:
        """Make the next iteration give one rank's share."""
        self.rank, self.world_size = rank, world_size

    def batches(self) -> list[np.ndarray]:
        return finite_batches(int(self._begins[-1]), self.batch_size, self.rank, self.world_size)

    def __iter__(self) -> Iterator[Loaded]:
        return _until_error(self._read_all())

    def _read_all(self) -> Iterator[Loaded]:
        worker, n_workers = _worker()
        for numbers in self.batches()[worker::n_workers]:
            yield read_batch([self._draw(int(number)) for number in numbers])

    def _draw(self, number: int) -> Wanted:
        dataset = int(np.searchsorted(self._begins, number, side="right")) - 1
        sample = number - int(self._begins[dataset])
        return Wanted(self.sources[dataset], sample, uniform(0, 0, sample), seed=number)


def read_batch(wanted: Sequence[Wanted]) -> Loaded:
    """Read samples; bad ones are left out."""
    faults: list[Fault] = []

    def readable() -> Iterator[Sample]:
        for source, number, where, seed in wanted:
            try:
                yield source.segments.read(int(source.rows[number]), where)._replace(seed=seed)
            except BadSample as error:
                faults.append(Fault(error.key, error.where, error.reason))

    # The sources' segments are alike: any of them can make the batch.
    batch = wanted[0].source.segments.batch(readable(), len(wanted))
    return Loaded(batch, len(wanted), faults)


def _until_error(batches: Iterator[Loaded]) -> Iterator[Loaded]:
    """End with the error that the user has to mend, such as a shard that is missing."""
    try:
        yield from batches
    except UserError as error:
        yield Loaded(None, 0, [], str(error))


def _worker() -> tuple[int, int]:
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
