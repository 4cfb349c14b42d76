"""Batches of segments in order: endless and shuffled to train on, finite and in order to check."""

import itertools
from collections.abc import Iterator

import numpy as np
from torch.utils.data import IterableDataset, get_worker_info

from musicgen_train.data.batches import AudioBatch, CodesBatch
from musicgen_train.data.order import epoch_order, finite_batches, step_positions, uniform
from musicgen_train.data.segments import SegmentReader


class TrainStream(IterableDataset):
    """Endless batches; worker w of W makes steps w, w + W, …, and the loader interleaves them."""

    def __init__(
        self, segments: SegmentReader, rows: np.ndarray, batch_size: int, seed: int
    ) -> None:
        assert len(rows) and batch_size > 0, (len(rows), batch_size)
        self.segments = segments
        self.rows = rows
        self.batch_size = batch_size
        self.seed = seed
        self.start, self.rank, self.world_size = 0, 0, 1
        self._order: tuple[int, np.ndarray] | None = None  # of the epoch used last

    def place(self, start: int, rank: int, world_size: int) -> None:
        """Begin the next iteration at stream position `start`, for one rank of many."""
        self.start, self.rank, self.world_size = start, rank, world_size

    def __iter__(self) -> Iterator[CodesBatch | AudioBatch]:
        worker, n_workers = _worker()
        for step in itertools.count(worker, n_workers):
            positions = step_positions(
                self.start, step, self.batch_size, self.rank, self.world_size
            )
            yield self.segments.batch([self._sample(position) for position in positions])

    def _sample(self, position: int):
        epoch, place = divmod(position, len(self.rows))
        if self._order is None or self._order[0] != epoch:
            self._order = epoch, epoch_order(len(self.rows), self.seed, epoch)
        number = int(self._order[1][place])
        return self.segments.read(int(self.rows[number]), uniform(self.seed, epoch, number))


class EvalStream(IterableDataset):
    """Every sample once, in order, always with the same crop."""

    def __init__(self, segments: SegmentReader, rows: np.ndarray, batch_size: int) -> None:
        self.segments = segments
        self.rows = rows
        self.batch_size = batch_size
        self.rank, self.world_size = 0, 1

    def place(self, rank: int, world_size: int) -> None:
        """Make the next iteration give one rank's share."""
        self.rank, self.world_size = rank, world_size

    def batches(self) -> list[np.ndarray]:
        return finite_batches(len(self.rows), self.batch_size, self.rank, self.world_size)

    def __iter__(self) -> Iterator[CodesBatch | AudioBatch]:
        worker, n_workers = _worker()
        for numbers in self.batches()[worker::n_workers]:
            yield self.segments.batch(
                [self.segments.read(int(self.rows[i]), uniform(0, 0, int(i))) for i in numbers]
            )


def _worker() -> tuple[int, int]:
    info = get_worker_info()
    return (0, 1) if info is None else (info.id, info.num_workers)
