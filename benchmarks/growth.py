"""How time and memory grow with length, batch, codebooks, samples and clips.

python -m benchmarks.growth [--quick] [--only data codec] [--output DIR] [--page docs/growth.md]
python -m benchmarks.growth --from DIR/growth.json --page docs/growth.md

Each curve's exponent is fitted and printed beside the one that it must have. The exit status is 1
if a curve grows faster. growth.json and the pictures go to DIR, and with --page also to a page.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from benchmarks.growth_fit import Curve

OUTPUT = Path("runs/growth")
PARTS = ("data", "evaluation", "codec", "training", "generation")


def measure(quick: bool, only: list[str]) -> dict[str, Any]:
    """All curves, each printed as soon as it is there."""
    import torch

    from benchmarks import (
        growth_codec,
        growth_data,
        growth_evaluation,
        growth_generation,
        growth_training,
    )
    from benchmarks.results import machine
    from benchmarks.timing import device_name

    rounds = 1 if quick else 3
    parts: dict[str, Callable[[], list[Curve]]] = {
        "data": growth_data.curves,
        "evaluation": lambda: growth_evaluation.curves(quick),
        "codec": lambda: growth_codec.curves(quick),
        "training": lambda: growth_training.curves(quick, rounds),
        "generation": lambda: growth_generation.curves(quick, rounds),
    }
    hardware = machine()
    results: dict[str, Any] = {
        "machine": hardware["gpu"] or hardware["cpu"],
        "device": device_name(),
        "torch": torch.__version__,
        "quick": quick,
        "curves": [],
    }
    for name in only:
        began = time.perf_counter()
        curves = parts[name]()
        for curve in curves:
            print_curve(curve)
        print(f"{name} took {time.perf_counter() - began:.0f} s", flush=True)
        results["curves"] += [curve.record() for curve in curves]
    return results


def print_curve(curve: "Curve") -> None:
    """One line: sizes, figures, and both exponents."""
    from benchmarks.growth_page import amount, must

    figures = " ".join(f"{x:g}:{amount(y)}" for x, y in curve.points)
    verdict = "" if curve.fine else "  GROWS TOO FAST"
    print(
        f"{curve.title}: {curve.y} [{curve.unit}] {figures}; exponent {curve.exponent:.2f}, "
        f"must {must(curve)}{verdict}",
        flush=True,
    )


def read_growth(path: Path) -> dict[str, Any]:
    """What was measured before; UserError if the file is no growth.json."""
    from benchmarks.growth_fit import curve_of
    from musicgen_train.errors import UserError

    try:
        results = json.loads(path.read_text())
        for record in results["curves"]:
            curve_of(record)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(
            f"{path}: is no growth.json that can be read ({error!r}); make it with python -m "
            "benchmarks.growth --output FOLDER"
        ) from None
    return results


def main() -> None:
    """Measure, or read what was measured; write, and judge."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--quick", action="store_true", help="few and small sizes: 4 minutes on two cores")
    add("--only", nargs="+", choices=PARTS, default=list(PARTS), help="some of the parts")
    add("--output", type=Path, default=OUTPUT, help=f"folder of growth.json ({OUTPUT})")
    add("--from", type=Path, dest="source", help="measure nothing: take this growth.json")
    add("--page", type=Path, help="also write this page, with its pictures in a folder beside it")
    arguments = parser.parse_args()

    from benchmarks.growth_fit import curve_of
    from benchmarks.growth_page import write_page, write_pictures
    from musicgen_train.errors import UserError
    from musicgen_train.whole_files import write_json

    if arguments.source:
        try:
            results = read_growth(arguments.source)
        except UserError as error:
            parser.exit(2, f"error: {error}\n")
    else:
        results = measure(arguments.quick, arguments.only)
        write_json(arguments.output / "growth.json", results)
        write_pictures([curve_of(record) for record in results["curves"]], arguments.output)
    if arguments.page:
        write_page(results, arguments.page)
        write_json(arguments.page.with_suffix("") / "growth.json", results)
    if any(not curve_of(record).fine for record in results["curves"]):
        sys.exit("a curve grows faster than it must")


if __name__ == "__main__":
    main()
