"""Counts of very many values in memory that does not grow with them."""

from collections import Counter

import numpy as np


class Tally:
    """How often each text occurs; past twice `most` texts the rarest are forgotten."""

    def __init__(self, most: int = 50_000) -> None:
        self.most = most
        self.counts: Counter[str] = Counter()
        self.estimated: Counter[str] = Counter()  # how many of them were estimated from the audio
        self.forgotten = 0

    def add(self, text: str, estimated: bool = False) -> None:
        self.counts[text] += 1
        if estimated:
            self.estimated[text] += 1
        if len(self.counts) > 2 * self.most:
            kept = dict(self.counts.most_common(self.most))
            self.forgotten += len(self.counts) - len(kept)
            self.counts = Counter(kept)
            self.estimated = Counter({t: n for t, n in self.estimated.items() if t in kept})

    def top(self, n: int) -> list[tuple[str, int, int]]:
        """The n commonest: (text, times, times estimated); equal ones in alphabetical order."""
        ordered = sorted(self.counts.items(), key=lambda item: (-item[1], item[0]))
        return [(text, count, self.estimated[text]) for text, count in ordered[:n]]


class Histogram:
    """Counts of numbers rounded to steps; what lies outside of the scale counts at its ends."""

    def __init__(self, low: float, high: float, step: float, group: int) -> None:
        """`group` steps are shown as one bin."""
        assert step > 0 and high > low and group > 0, (low, high, step, group)
        self.low, self.step, self.group = low, step, group
        self.counts = np.zeros(round((high - low) / step) + 1, np.int64)
        self.estimated = np.zeros_like(self.counts)  # those that were estimated from the audio

    def add(self, value: float, estimated: bool = False) -> None:
        number = min(max(round((value - self.low) / self.step), 0), len(self.counts) - 1)
        self.counts[number] += 1
        self.estimated[number] += estimated

    @property
    def n(self) -> int:
        return int(self.counts.sum())

    def quantile(self, q: float) -> float:
        """The smallest value that a share q of all does not exceed, to half a step."""
        assert self.n, "an empty histogram has no quantiles"
        ends = np.cumsum(self.counts)
        return self.low + self.step * int(np.searchsorted(ends, max(q * ends[-1], 1)))

    def bins(self) -> list[tuple[float, float, int, int]]:
        """(from, to, times, times estimated) from the first to the last bin that is not empty."""
        filled = np.flatnonzero(self.counts) // self.group
        found = []
        for number in range(int(filled[0]), int(filled[-1]) + 1) if len(filled) else ():
            part = slice(number * self.group, (number + 1) * self.group)
            low = self.low + number * self.group * self.step
            times, estimated = self.counts[part].sum(), self.estimated[part].sum()
            found.append((low, low + self.group * self.step, int(times), int(estimated)))
        return found
