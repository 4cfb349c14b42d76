"""Which sample comes when: pure functions of (seed, epoch), the same on any number of ranks.

Epochs follow one another in one endless stream of positions; position p is sample p % n of
epoch p // n's own shuffle. A step takes the next `batch_size * world_size` positions:

    positions   0 1 2 3 | 4 5 6 7 | 8 9 ...      n = 6, batch_size 2, world_size 2
    epoch       0 0 0 0   0 0 1 1   1 1          no sample is left out or repeated
    rank        0 0 1 1   0 0 1 1   0 0
"""

import numpy as np

_MASK = (1 << 64) - 1


def epoch_order(n: int, seed: int, epoch: int) -> np.ndarray:
    """Shuffle of range(n) for one epoch: [n] int64.

    Sorting hashes, instead of a library's generator, keeps old runs resumable for ever.
    """
    keys = _mix(np.arange(n, dtype=np.uint64) ^ np.uint64(hash_of(seed, epoch)))
    return np.argsort(keys, kind="stable")


def block_order(shards: np.ndarray, block: int, seed: int, epoch: int) -> np.ndarray:
    """Shuffle for one epoch that visits shards `block` at a time, for a cache of few shards.

    shards [n] int: the shard of each sample. The shards' order is shuffled, and then the samples
    within each block of shards: -> [n] int64.
    """
    used, which = np.unique(shards, return_inverse=True)
    place = np.empty(len(used), np.int64)
    place[epoch_order(len(used), hash_of(seed, 1), epoch)] = np.arange(len(used))
    keys = _mix(np.arange(len(shards), dtype=np.uint64) ^ np.uint64(hash_of(seed, epoch)))
    return np.lexsort((keys, place[which] // block))


def uniform(seed: int, epoch: int, sample: int) -> float:
    """A number in [0, 1) that belongs to one sample in one epoch, for its crop."""
    return (hash_of(seed, epoch, sample) >> 11) / (1 << 53)


def draw_seed(seed: int, position: int) -> int:
    """What seeds all other draws for the sample at a position of the stream: 64 bits.

    It belongs to the position, so that draws are the same on any number of ranks.
    """
    return hash_of(seed, 3, position)


def step_positions(start: int, step: int, batch_size: int, rank: int, world_size: int) -> range:
    """Stream positions of one rank's batch at `step` steps after position `start`."""
    first = start + (step * world_size + rank) * batch_size
    return range(first, first + batch_size)


def finite_batches(n: int, batch_size: int, rank: int, world_size: int) -> list[np.ndarray]:
    """Split range(n), in order, into one rank's batches; every rank gets equally many.

    Sizes differ by at most one. With fewer samples than ranks need, every rank gets them all:
    means stay right, and no rank waits for another for ever.
    """
    if n == 0:
        return []
    steps = -(-n // (batch_size * world_size))
    if n < steps * world_size:
        return finite_batches(n, batch_size, 0, 1)
    return np.array_split(np.arange(n), steps * world_size)[rank::world_size]


def hash_of(*values: int) -> int:
    """64 bits that any change of the values scatters."""
    state = 0
    for value in values:
        state = int(_mix(np.array([state ^ (value & _MASK)], np.uint64))[0])
    return state


def _mix(x: np.ndarray) -> np.ndarray:
    """The splitmix64 step: a bijection of 64-bit integers that scatters them (arrays wrap)."""
    x = x + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return x ^ (x >> np.uint64(31))
