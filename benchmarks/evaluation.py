"""How fast and in how much memory clips are heard and measured.

python -m benchmarks.evaluation [--quick] [--output FILE]

Full-size embedders with random weights hear synthetic music of 10 s, on a GPU if there is one;
Fréchet distances are computed beside scipy's root; and the whole measuring step, from folders of
clips that were heard before to metrics.json, runs on more and more clips in processes of their
own. All ratios are medians over rounds in which ours and the other take turns.
"""

import argparse
from collections.abc import Iterator
from typing import NamedTuple

from benchmarks import evaluation_distances as distances
from benchmarks import evaluation_hearing as hearing
from benchmarks.alone import output_argument, run_alone
from benchmarks.evaluation_hearing import MUSICCAPS
from benchmarks.limits import Limits
from benchmarks.results import Row

ALL = ("fad", "kad", "coverage")


class Plan(NamedTuple):
    """How much is done. The work of KAD grows with the square of the clips."""

    rounds: int
    clips: int  # that are heard
    dims: tuple[int, ...]  # of Fréchet distances
    sizes: distances.Plan
    parts: int | None = None  # clips whose measuring is taken apart


PLANS = {
    "quick": Plan(5, 1, (128, 512), {ALL: (125, 250)}),
    "full": Plan(5, 4, (128, 512, 1024, 2048), {ALL: (250, 1000)}),
    "dry": Plan(1, 1, (16,), {("fad",): (20, 40)}, 60),
}
# Too long for a run of everything: for the figures of docs/evaluation.md.
WHOLE = Plan(
    5, 2, (128, 512, 1024, 2048), {ALL: (250, 1000, 4000), ("fad",): (4000, 16_000)}, MUSICCAPS
)


def rows_in(mode: str, limits: Limits) -> Iterator[Row]:
    """All rows of a mode."""
    yield from rows(PLANS[mode], limits)


def rows(plan: Plan, limits: Limits) -> Iterator[Row]:
    """Hearing, then what is done before it, distances, the whole, and its parts."""
    yield from hearing.hearing(plan.rounds, plan.clips, limits)
    yield from hearing.front_ends(5 * plan.rounds)
    yield from hearing.resamplers(5 * plan.rounds)
    yield from distances.roots(plan.dims, plan.rounds)
    yield from distances.memory(plan.sizes)
    if plan.parts is not None:
        yield from distances.parts(plan.parts)


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sets, and no parts")
    output_argument(parser)
    args = parser.parse_args()
    plan = PLANS["quick"] if args.quick else WHOLE
    run_alone(lambda limits: rows(plan, limits), args.output)


if __name__ == "__main__":
    main()
