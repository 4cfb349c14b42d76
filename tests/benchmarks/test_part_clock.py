"""A part's time is its own: neither lost nor counted twice."""

import time
from types import SimpleNamespace

import pytest

from benchmarks.part_clock import PartClock


def test_a_part_within_another_has_its_own_time_and_all_is_put_back():
    inner = SimpleNamespace(call=lambda: time.sleep(0.05))
    outer = SimpleNamespace(call=lambda: (time.sleep(0.02), inner.call()))
    before = inner.call, outer.call
    clock = PartClock("cpu")
    clock.watch(outer, "call", "outer")
    clock.watch(inner, "call", "inner")
    began = time.perf_counter()
    outer.call()
    whole = time.perf_counter() - began
    clock.release()
    found = clock.seconds()
    assert found["inner"] >= 0.05 and 0.02 <= found["outer"] < whole - found["inner"] + 1e-3
    assert sum(found.values()) == pytest.approx(whole, abs=5e-3)
    assert (inner.call, outer.call) == before


def test_a_part_that_raises_ends():
    broken = SimpleNamespace(call=lambda: 1 / 0)
    clock = PartClock("cpu")
    clock.watch(broken, "call", "broken")
    with pytest.raises(ZeroDivisionError):
        broken.call()
    assert not clock.running and "broken" in clock.seconds()
