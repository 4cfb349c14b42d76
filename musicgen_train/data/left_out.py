"""Samples that could not be read: each is reported, all are counted, and too many stop the run."""

import logging
from collections.abc import Sequence
from typing import NamedTuple

from musicgen_train.errors import UserError

_LOG = logging.getLogger(__name__)
_FEW = 100  # samples too few to judge a share by


class Fault(NamedTuple):
    """A sample that was left out of its batch."""

    key: str
    where: str  # its shard
    reason: str


class LeftOut:
    """What one rank left out, by the number of the batch, and what was left out before this run.

    A sample is never replaced by another: its batch is smaller.
    """

    def __init__(self, max_share: float, seen: int = 0, bad: int = 0) -> None:
        """`seen` and `bad`: samples counted before this run, on all ranks."""
        self.max_share = max_share
        self.before = bad
        self._next = 0
        self._bad_of: dict[int, int] = {}  # of the batches that have any
        self._read, self._bad = seen, bad  # with those that were read ahead in vain
        self._reported: set[tuple[str, str]] = set()  # where, key

    def begin(self, batch: int) -> "LeftOut":
        """Forget what was read ahead: the next batch is number `batch`."""
        self._bad_of = {number: n for number, n in self._bad_of.items() if number < batch}
        self._next = batch
        return self

    def add(self, n_samples: int, faults: Sequence[Fault]) -> None:
        """Count a batch that lacks `faults`; raise if nothing, or too little, is left."""
        self._read += n_samples
        self._bad += len(faults)
        if faults:
            self._bad_of[self._next] = len(faults)
        self._next += 1
        for fault in faults:
            if (fault.where, fault.key) not in self._reported:
                self._reported.add((fault.where, fault.key))
                _LOG.warning(
                    "left out: sample %s in %s cannot be read (%s)",
                    fault.key,
                    fault.where,
                    fault.reason,
                )
        if faults:
            self._judge(len(faults) == n_samples, faults[0])

    def own(self, batch: int) -> int:
        """Samples that this rank left out of the batches before number `batch`."""
        return sum(n for number, n in self._bad_of.items() if number < batch)

    def _judge(self, nothing_left: bool, fault: Fault) -> None:
        if nothing_left:
            what, remedy = "nothing of a batch", "batch_size"
        elif self._read >= _FEW and self._bad > self.max_share * self._read:
            what = f"{self._bad} of {self._read} samples"
            remedy = f"max_bad={self.max_share:g}"
        else:
            return
        verb = "can" if nothing_left else "cannot"
        raise UserError(
            f"data: {what} {verb} be read, lately {fault.key} in {fault.where} "
            f"({fault.reason}); prepare the dataset again, or raise {remedy}"
        )
