"""The processes that evaluate together, and which of the work is whose."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeVar

T = TypeVar("T")


@dataclass(frozen=True)
class Ranks:
    """This process among `count` that see the same files; alone unless told."""

    index: int = 0
    count: int = 1
    wait: Callable[[], None] = lambda: None  # until every process has come as far

    @property
    def first(self) -> bool:
        """Whether this process computes and writes what only one may write."""
        return self.index == 0

    def mine(self, units: Sequence[T]) -> list[T]:
        """The units of work of this process: none is dealt twice or filled up."""
        return list(units[self.index :: self.count])
