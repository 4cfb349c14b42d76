"""Which sample of which dataset comes when, where several are mixed by weight.

Every 1000 positions of the stream hold a fixed number of each dataset's samples, in a shuffled
pattern. So the weights hold exactly, each dataset runs through epochs of its own, and any position
is found without going through those before it.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from musicgen_train.data.order import draw_seed, epoch_order, hash_of, uniform
from musicgen_train.errors import UserError

PATTERN = 1000  # positions


class Draw(NamedTuple):
    """What one position of the stream holds."""

    dataset: int
    epoch: int  # of that dataset
    sample: int  # number among that dataset's training samples
    where: float  # in [0, 1): where the crop begins
    seed: int  # of all else that is drawn for it


class SampleOrder:
    """The endless stream of samples: a pure function of (seed, position)."""

    def __init__(
        self, sizes: Sequence[int], weights: Sequence[float], seed: int,
        shuffles: Sequence[Callable[[int, int], np.ndarray]],
    ) -> None:  # fmt: skip
        """`shuffles[d](seed, epoch)` is a permutation of range(sizes[d])."""
        assert len(sizes) == len(weights) == len(shuffles) and min(sizes) > 0, (sizes, weights)
        self.sizes = list(sizes)
        self.shuffles = list(shuffles)
        self.seed = seed
        # The first keeps the seed as it is: a lone dataset is the usual case.
        self.seeds = [hash_of(seed, d) if d else seed for d in range(len(sizes))]
        self.quotas = quotas(weights)
        self._orders: dict[int, tuple[int, np.ndarray]] = {}  # the epoch used last, by dataset
        self._pattern: tuple[int, np.ndarray] | None = None  # the one used last

    def locate(self, position: int) -> Draw:
        dataset, drawn = self._count(position)
        epoch, place = divmod(drawn, self.sizes[dataset])
        seed = self.seeds[dataset]
        if self._orders.get(dataset, (None,))[0] != epoch:
            self._orders[dataset] = epoch, self.shuffles[dataset](seed, epoch)
        sample = int(self._orders[dataset][1][place])
        where = uniform(seed, epoch, sample)
        return Draw(dataset, epoch, sample, where, draw_seed(self.seed, position))

    def _count(self, position: int) -> tuple[int, int]:
        """The dataset at a position, and how many of its samples come before."""
        if len(self.sizes) == 1:
            return 0, position
        block, place = divmod(position, PATTERN)
        if self._pattern is None or self._pattern[0] != block:
            self._pattern = block, pattern(self.quotas, self.seed, block)
        dataset = int(self._pattern[1][place])
        before = np.count_nonzero(self._pattern[1][:place] == dataset)
        return dataset, block * int(self.quotas[dataset]) + int(before)


def quotas(weights: Sequence[float]) -> np.ndarray:
    """Samples of each dataset in `PATTERN` positions, by largest remainder: [D] int64."""
    shares = np.array(weights, np.float64)
    if not (np.isfinite(shares).all() and (shares > 0).all()):
        raise UserError(f"weights of datasets are {list(weights)}; use numbers above 0")
    exact = shares / shares.sum() * PATTERN
    counts = np.floor(exact + 1e-9).astype(np.int64)
    for d in np.argsort(counts - exact, kind="stable")[: PATTERN - counts.sum()]:
        counts[d] += 1
    if (counts == 0).any():
        raise UserError(
            f"weights of datasets are {list(weights)}; a share below 1/{PATTERN} is never drawn: "
            "raise it, or leave that dataset out"
        )
    return counts


def pattern(quotas: np.ndarray, seed: int, block: int) -> np.ndarray:
    """The dataset of each position of one block: [PATTERN] int64."""
    ordered = np.repeat(np.arange(len(quotas)), quotas)
    return ordered[epoch_order(PATTERN, hash_of(seed, 2), block)]
