"""What several folders are called when they are put side by side."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path


def shortest_names(places: Sequence[Path]) -> list[str]:
    """The ends of different absolute paths, with as few parts as tell them apart."""
    assert len(set(places)) == len(places), f"{places}: each once"
    parts = [place.parts for place in places]
    length = 1
    while len({part[-length:] for part in parts}) < len(parts):
        length += 1
    names = [str(Path(*part[-length:])) for part in parts]
    # Bytes that are no text could be shown nowhere.
    return [os.fsencode(name).decode("utf-8", "replace") for name in names]
