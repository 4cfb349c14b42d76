"""One benchmark by its own command: rows on the terminal as they come, JSON at the end."""

import argparse
import json
from collections.abc import Callable, Iterator
from pathlib import Path

from benchmarks.limits import Limits
from benchmarks.results import Row


def output_argument(parser: argparse.ArgumentParser) -> None:
    """Add what all commands share."""
    parser.add_argument("--output", type=Path, help="also write the figures to this JSON file")


def run_alone(rows: Callable[[Limits], Iterator[Row]], output: Path | None) -> None:
    """Measure the limits and the rows; print, and write if asked."""
    from benchmarks.limits import measure_limits
    from benchmarks.results import machine, run_facts
    from benchmarks.tables import line
    from musicgen_train.whole_files import write_json

    limits, found = measure_limits(), []
    print(limits.told(), flush=True)
    for row in rows(limits):
        print(line(row), flush=True)
        found.append(row.as_json())
    facts = {**run_facts("alone"), "limits": limits._asdict()}
    result = {"machine": machine(), **facts, "rows": found}
    if output:
        write_json(output, result)
    else:
        print(json.dumps(result))
