"""Figures and lists as text: a value with its unit, an interval with the digits it can carry."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOTHING = "–"


def format_value(value: float | None, unit: str) -> str:
    """A number with its unit, as short as it can be read; None is what JSON made of a NaN."""
    if value is None or not math.isfinite(value):
        return "not measurable"
    if unit == "share":
        return f"{100 * value:.0f} %"
    if abs(value) >= 100:
        text = f"{value:.0f}"
    elif abs(value) >= 10:
        text = f"{value:.1f}"
    else:
        text = f"{value:.2f}" if abs(value) >= 0.1 or value == 0 else f"{value:.2g}"
    return f"{text} {unit}".strip()


def format_interval(interval: Sequence[float | None] | None, unit: str) -> str:
    """[2.90, 3.50] without the unit, that of a share in percent; "" where there is none.

    It has as many digits as tell its width to two.
    """
    ends = _finite_ends(interval)
    if ends is None:
        return ""
    low, high = (100 * end if unit == "share" else end for end in ends)
    digits = _decimals(high - low) if high > low else 0 if unit == "share" else 2
    return f"[{_plain(low, digits)}, {_plain(high, digits)}]"


def with_interval(value: float | None, interval: Sequence[float | None] | None, unit: str) -> str:
    """3.21 [2.90, 3.50]."""
    return f"{format_value(value, unit)} {format_interval(interval, unit)}".strip()


def format_end(value: float | None, unit: str) -> str:
    """An end of a scale, which may not exist."""
    return NOTHING if value is None else format_value(value, unit)


def format_seconds(seconds: float) -> str:
    """93.4 -> "1 min 33 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest} s" if minutes else f"{seconds:.1f} s"


def listed(names: Sequence[str], most: int) -> str:
    """The first names, and how many more there are: "a, b and 3 more"."""
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more


def _finite_ends(interval: Sequence[float | None] | None) -> tuple[float, float] | None:
    low, high = interval or (None, None)
    if low is None or high is None or not (math.isfinite(low) and math.isfinite(high)):
        return None
    return low, high


def _decimals(width: float) -> int:
    return min(6, max(0, 1 - math.floor(math.log10(width))))


def _plain(value: float, digits: int) -> str:
    text = f"{value:.{digits}f}"
    return text.removeprefix("-") if not float(text) else text  # no "-0.00"
