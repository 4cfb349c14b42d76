"""How fast a measured curve grows: the exponent that fits it, beside the one it must have."""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

TOLERANCE = 0.2  # of an exponent: what noise makes of few points
FLOORS = {"s": 1e-5, "MiB": 4.0, "KiB": 1.0}  # below these, a figure is noise and counts as this


@dataclass(frozen=True)
class Curve:
    """Points of one quantity against one size, and how fast it may grow."""

    group: str  # the picture it is drawn in
    title: str
    x: str  # the size: frames, samples, …
    y: str  # what is measured
    unit: str  # of y, one of FLOORS
    must: tuple[float, float]  # the exponents from which and up to which it must grow
    points: Sequence[tuple[float, float]]

    @property
    def exponent(self) -> float:
        """The slope of the larger half of the sizes, where fixed costs hide it least."""
        return fitted_exponent(larger_half(self.points), FLOORS[self.unit])

    @property
    def fine(self) -> bool:
        """Whether it grows no faster than it must; that it grows more slowly is no fault."""
        return self.exponent <= self.must[1] + TOLERANCE

    def record(self) -> dict[str, Any]:
        """What the results keep of it."""
        return {**asdict(self), "exponent": round(self.exponent, 3), "fine": self.fine}


def curve_of(record: dict[str, Any]) -> Curve:
    """A curve that was read from the results."""
    own = {name: record[name] for name in ("group", "title", "x", "y", "unit")}
    points = [(float(x), float(y)) for x, y in record["points"]]
    low, high = record["must"]
    return Curve(**own, must=(low, high), points=points)


def larger_half(points: Sequence[tuple[float, float]]) -> list[tuple[float, float]]:
    """The points of the larger half of the sizes, at least three if there are so many."""
    return sorted(points)[-max(3, math.ceil(len(points) / 2)) :]


def fitted_exponent(points: Sequence[tuple[float, float]], floor: float) -> float:
    """The least-squares slope of log y over log x; values below `floor` count as that."""
    if len({x for x, _ in points}) < 2:
        raise ValueError(f"{len(points)} points at one size: a slope needs two sizes")
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(max(y, floor)) for _, y in points]
    x_mean, y_mean = sum(xs) / len(xs), sum(ys) / len(ys)
    products = sum((x - x_mean) * (y - y_mean) for x, y in zip(xs, ys, strict=True))
    return products / sum((x - x_mean) ** 2 for x in xs)


def time_and_memory(
    group: str,
    title: str,
    x: str,
    points: list[tuple[int, dict[str, Any]]],
    must: dict[str, tuple[float, float]],
) -> list[Curve]:
    """The curves of time and of memory of the same points."""
    words = {"seconds": ("time", "s"), "MiB": ("memory added", "MiB")}
    return [
        Curve(group, title, x, word, unit, must[key], [(float(n), p[key]) for n, p in points])
        for key, (word, unit) in words.items()
    ]
