"""Torch loaders that begin where training stands, and leave out samples that cannot be read."""

import re
from collections.abc import Callable, Iterator
from typing import Any

from torch.utils.data import DataLoader

from musicgen_train.data.batches import AudioBatch, CodesBatch
from musicgen_train.data.left_out import LeftOut
from musicgen_train.data.streams import EvalStream, Loaded, TrainStream
from musicgen_train.data.worker_signals import outlive_signals
from musicgen_train.errors import UserError


class PlacedLoader(DataLoader):
    """A loader that asks where to begin at the moment it is iterated, and not when it is built.

    So its workers must be new each time: persistent ones would begin where they were.
    """

    def __init__(
        self,
        stream: TrainStream | EvalStream,
        place: Callable[[], tuple[int, ...]],
        left_out: Callable[[], LeftOut],
        num_workers: int,
        pin_memory: bool,
    ) -> None:
        """`left_out()` gives what counts the bad samples of one iteration."""
        super().__init__(
            stream,
            batch_size=None,
            collate_fn=_as_is,
            num_workers=num_workers,
            pin_memory=pin_memory,
            worker_init_fn=outlive_signals,
        )
        self.stream = stream
        self.place = place
        self.left_out = left_out

    def __iter__(self) -> Any:
        self.stream.place(*self.place())
        return _checked(super().__iter__(), self.left_out())


class FiniteLoader(PlacedLoader):
    """A placed loader that knows how many batches it gives."""

    def __len__(self) -> int:
        assert isinstance(self.stream, EvalStream)
        self.stream.place(*self.place())
        return len(self.stream.batches())


def _checked(batches: Iterator[Loaded], left_out: LeftOut) -> Iterator[CodesBatch | AudioBatch]:
    try:
        while True:
            loaded = _next(batches)
            if loaded is None:
                return
            if loaded.error is not None:
                raise UserError(loaded.error)
            left_out.add(loaded.n_samples, loaded.faults)
            assert loaded.batch is not None
            yield loaded.batch
    finally:
        # Workers end with the last reference. Were that the traceback's, they would end at a
        # garbage collection, which cuts their queues before they hear of it: 5 s for each.
        del batches


def _next(batches: Iterator[Loaded]) -> Loaded | None:
    """The next batch; None at the end. A worker that died is told as an error without traceback."""
    try:
        return next(batches, None)
    except RuntimeError as error:
        if not re.search("exited unexpectedly|killed by signal", str(error)):
            raise
        reason = " ".join(str(error).split())
    hint = "if memory ran out, lower num_workers or batch_size"
    return Loaded(None, 0, [], f"data: {reason}; {hint}")


def _as_is(batch: Any) -> Any:
    return batch
