"""Divide groups of tracks (artists) into train, valid and test, by hash."""

import hashlib
from collections.abc import Iterable


def assign_splits(
    groups: Iterable[str], valid_fraction: float, test_fraction: float, seed: int
) -> dict[str, str]:
    """Map each group to its split; from three groups on no split asked for is empty.

    Groups are ranked by a hash, so the result depends on the names and the seed, not on order.
    """
    ranked = sorted(set(groups), key=lambda group: _rank(group, seed))
    n = len(ranked)
    n_valid = _share(n, valid_fraction, least_groups=2)
    n_test = _share(n, test_fraction, least_groups=3)
    names = ["valid"] * n_valid + ["test"] * n_test
    names += ["train"] * (n - len(names))
    return dict(zip(ranked, names, strict=True))


def _share(n: int, fraction: float, least_groups: int) -> int:
    if fraction <= 0 or n < least_groups:
        return 0
    return max(1, min(round(n * fraction), (n - 1) // 2))


def _rank(group: str, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{group}".encode("utf-8", "surrogateescape")).digest()
