"""One number with both ends of its scale and the record of how it was made."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from typing import Literal


@dataclass
class Measurement:
    """A metric's value between its good end (real music) and its bad end (untrained, shuffled).

    For a distance the good end is its floor and the bad end its ceiling. An end that does not
    exist is None. `others` holds figures worth showing beside the value.
    """

    name: str  # stable identifier, e.g. "fad.judge.generated"
    title: str
    value: float
    better: Literal["lower", "higher", "neither"]
    n_clips: int
    unit: str = ""
    good_end: float | None = None
    good_end_is: str = ""
    bad_end: float | None = None
    bad_end_is: str = ""
    n_vectors: int | None = None
    interval: tuple[float, float] | None = None  # of 95 %
    interval_is: str = ""
    warnings: tuple[str, ...] = ()  # what makes the value less sure than it looks
    others: dict[str, float] = field(default_factory=dict)
    settings: dict[str, object] = field(default_factory=dict)
    per_clip: dict[str, float] = field(default_factory=dict, repr=False)  # name -> value

    def position(self) -> float | None:
        """Where the value lies from the bad end (0) to the good end (1), if both are known.

        Values outside the scale are brought to its nearer end. Where the good end is no better
        than the bad end, the metric tells nothing and there is no position.
        """
        if self.good_end is None or self.bad_end is None:
            return None
        span = self.good_end - self.bad_end
        inverted = span <= 0 if self.better == "higher" else span >= 0
        if not math.isfinite(span) or inverted or not math.isfinite(self.value):
            return None
        return min(1.0, max(0.0, (self.value - self.bad_end) / span))

    def to_json(self) -> dict[str, object]:
        """Plain values; what is not a finite number becomes None, for JSON has no NaN."""
        plain = {key: _finite(value) for key, value in asdict(self).items()}
        del plain["per_clip"]  # which stands with the clips
        return plain


def _finite(value: object) -> object:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    if isinstance(value, tuple | list):
        return [_finite(inner) for inner in value]
    return value
