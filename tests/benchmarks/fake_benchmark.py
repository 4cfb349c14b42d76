"""Benchmarks that go wrong in every way, by mode."""

import os
import time

from benchmarks.results import Row


def rows_in(mode, limits):
    """Two rows, and what follows them."""
    yield Row("fake", "first", 1.5, "things/s", limit=3.0)
    yield Row("fake", "second", note="this device cannot do it")
    if mode == "fails":
        raise ValueError("no such thing\nand more")
    if mode == "dies":
        os._exit(7)
    if mode == "hangs":
        time.sleep(100)
