"""Numbers and texts as people read them."""

from typing import Any


def shown(text: Any, longest: int = 80) -> str:
    """Text on one line and of bounded length, without what could control a terminal."""
    line = "".join(c if c.isprintable() else " " for c in str(text)[: 4 * longest])
    line = " ".join(line.split())
    return line if len(line) <= longest else line[: longest - 1] + "…"


def hours(seconds: float) -> str:
    """5400 -> "1.5 h", 1500 -> "25 min", 40 -> "40 s"."""
    if seconds >= 3600:
        return f"{seconds / 3600:,.1f} h" if seconds < 360_000 else f"{seconds / 3600:,.0f} h"
    return f"{seconds / 60:.0f} min" if seconds >= 60 else f"{seconds:.0f} s"


def counted(n: int, one: str, many: str | None = None) -> str:
    """1 -> "1 track", 2000 -> "2,000 tracks"."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


def percent(share: float) -> str:
    """0.123 -> "12 %"; what is neither none nor all never reads as that."""
    if 0 < share < 0.01:
        return "under 1 %"
    if 0.99 < share < 1:
        return "over 99 %"
    return f"{100 * share:.0f} %"
