"""Preparing, tokenising and loading data: how fast, beside webdataset where it does the same.

python -m benchmarks.data [--minutes 10 --rounds 5 --workers 2 --output FILE.json]
"""

import argparse
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from benchmarks import data_loading, data_preparing
from benchmarks.alone import output_argument, run_alone
from benchmarks.limits import Limits
from benchmarks.results import Row


class Plan(NamedTuple):
    """How much is read, and prepared."""

    loading: data_loading.Plan = data_loading.Plan()
    minutes: float = 10.0  # of music
    rounds: int = 3
    preset: str = "32khz"  # of the codec that makes tokens


PLANS = {
    "quick": Plan(data_loading.Plan(workers=0, batches={"codes": 48, "audio": 3}), 2.5, 1, "tiny"),
    "full": Plan(data_loading.Plan(workers=4), 2.5, 1, "tiny"),
    "dry": Plan(
        data_loading.Plan(
            1, 0, {"codes": 2, "audio": 2}, {"codes": 64, "audio": 16}, 1000
        ),
        0.1, 1, "tiny",
    ),
}  # fmt: skip


def rows_in(mode: str, limits: Limits) -> Iterator[Row]:
    """All rows of a mode."""
    yield from rows(PLANS[mode])


def rows(plan: Plan) -> Iterator[Row]:
    """Loading beside webdataset, then preparing."""
    with tempfile.TemporaryDirectory() as name:
        yield from data_loading.rows(Path(name), plan.loading)
        yield from data_preparing.rows(Path(name), plan.minutes, plan.rounds, plan.preset)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of music to prepare")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--workers", type=int, default=2, help="of the loaders")
    output_argument(parser)
    args = parser.parse_args()
    loading = data_loading.Plan(args.rounds, args.workers)
    plan = Plan(loading, args.minutes, args.rounds)
    run_alone(lambda limits: rows(plan), args.output)


if __name__ == "__main__":
    main()
