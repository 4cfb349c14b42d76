"""Whatever becomes of a benchmark, its rows are kept and one says what went wrong."""

import pytest

from benchmarks.limits import Limits
from benchmarks.results import Row
from benchmarks.running import rows_of_process

LIMITS = Limits(1.0, 1.0, 1.0)


def rows(mode, limit=None):
    return list(rows_of_process("fake", "tests.benchmarks.fake_benchmark", mode, LIMITS, limit))


def test_all_rows_of_a_benchmark_come_and_nothing_else():
    found = rows("works")
    assert [row.case for row in found] == ["first", "second"]
    assert not any(row.failed for row in found)


@pytest.mark.parametrize(
    ("mode", "reason"),
    [("fails", "ValueError: no such thing"), ("dies", "its process ended with status 7")],
)
def test_one_that_breaks_keeps_its_rows_and_says_why(mode, reason):
    found = rows(mode)
    assert [row.case for row in found] == ["first", "second", "the rest"]
    assert found[-1].failed and found[-1].note.startswith(reason)


def test_one_that_takes_too_long_is_stopped():
    found = rows("hangs", limit=12.0)
    assert found[-1] == Row("fake", "the rest", note="stopped after 12 s (--limit)", failed=True)


def test_a_module_that_does_not_import_is_a_failed_row():
    [row] = rows_of_process("fake", "benchmarks.no_such", "quick", LIMITS, None)
    assert row.failed and "no_such" in row.note
