"""The page says what the files say, and nothing of machines that there are none of."""

import json

from benchmarks.results import Row
from benchmarks.tables import line, number, results_page, table
from tests.benchmarks.small_results import CPU, FACTS, GPU

FAST = Row("codec", "encode", 4.123, "x real time", "transformers", 2.0, 2.06, 5, 8.0, 812.4)
FAILED = Row("codec", "the rest", note="ValueError: a|b", failed=True)


def write(folder, name, machine, rows):
    runs = {"codec": {**FACTS, "rows": [row.as_json() for row in rows]}}
    (folder / name).write_text(json.dumps({"machine": machine, "runs": runs}))


def test_there_is_a_section_for_each_machine_and_the_gpus_come_first(tmp_path):
    write(tmp_path, "a.json", CPU, [FAST])
    page = results_page(tmp_path)
    assert "## Some CPU, 2 cores" in page and "NVIDIA" not in page
    write(tmp_path, "z.json", GPU, [FAST])
    page = results_page(tmp_path)
    assert page.index("## NVIDIA H100 80GB HBM3 (85.0 GB)") < page.index("## Some CPU")
    assert "commit abc1234; python 3.12.1, torch 2.11.0" in page
    assert "0.1 TFLOP/s in float32" in page


def test_a_row_has_its_value_its_peers_the_ratio_and_the_share_of_the_limit():
    [head, _, row] = table([FAST])
    assert row == (
        "| encode | 4.12 x real time | transformers | 2.00 x real time | 2.06 | 52% | 812 |"
    )
    assert head.count("|") == row.count("|")


def test_a_failed_benchmark_is_one_line_with_its_reason():
    [_, _, *rows] = table([FAST, FAILED])
    assert rows[1].startswith("| the rest | failed |") and "ValueError: a/b" in rows[1]
    assert rows[0].count("|") == rows[1].count("|")
    assert line(FAILED) == "  the rest: failed: ValueError: a|b"


def test_numbers_have_three_digits_or_are_whole():
    assert [number(x) for x in (0.01234, 1.0, 12.345, 1234.5, None)] == [
        "0.0123", "1.00", "12.3", "1234", "",
    ]  # fmt: skip
