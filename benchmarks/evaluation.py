"""How fast and in how much memory clips are heard and measured.

python -m benchmarks.evaluation [--quick] [--json FILE]

Full-size embedders with random weights hear synthetic music of 10 s, on a GPU if there is one;
Fréchet distances are computed beside scipy's root; and the whole measuring step, from folders of
clips that were heard before to metrics.json, runs on more and more clips in processes of their
own. All ratios are medians over rounds in which ours and the other take turns.
"""

from __future__ import annotations

import argparse
import json
import platform
from pathlib import Path
from typing import TYPE_CHECKING, Any

from benchmarks import evaluation_distances as distances
from benchmarks import evaluation_hearing as hearing
from benchmarks.evaluation_hearing import MUSICCAPS, Row

if TYPE_CHECKING:
    from rich.console import Console

ALL = ("fad", "kad", "coverage")
# How much is done: quick is for a look, full for figures that are reported. The work of KAD grows
# with the square of the clips, so that the largest set is left to FAD alone.
QUICK: dict[str, Any] = {
    "rounds": 3, "clips": 1, "dims": (128, 512, 1024), "parts": 500,
    "sizes": {ALL: (125, 250, 500)},
}  # fmt: skip
FULL: dict[str, Any] = {
    "rounds": 5, "clips": 2, "dims": (128, 512, 1024, 2048), "parts": MUSICCAPS,
    "sizes": {ALL: (250, 1000, 4000), ("fad",): (4000, 16_000)},
}  # fmt: skip


def measure(plan: dict[str, Any], console: Console) -> dict[str, list[Row]]:
    """Every table, printed as soon as it is there."""
    rounds, found = plan["rounds"], dict[str, list[Row]]()
    steps = {
        "hearing": lambda: hearing.hearing(rounds, plan["clips"]),
        "front ends": lambda: hearing.front_ends(5 * rounds) + hearing.resamplers(5 * rounds),
        "Fréchet roots": lambda: distances.roots(plan["dims"], rounds),
        "measuring": lambda: distances.memory(plan["sizes"]),
        f"parts of measuring, {plan['parts']} clips": lambda: distances.parts(plan["parts"]),
    }
    for title, step in steps.items():
        console.print(f"{title} ...", highlight=False)
        found[title] = step()
        print_table(title, found[title], console)
    return found


def print_table(title: str, rows: list[Row], console: Console) -> None:
    """One row a line, under the names of its values."""
    from rich.table import Table

    columns = list(dict.fromkeys(name for row in rows for name in row))
    table = Table(title=title, title_justify="left")
    for name in columns:
        words = name.replace("_", " ")
        table.add_column(words, justify="left" if isinstance(rows[0].get(name), str) else "right")
    for row in rows:
        table.add_row(*(shown(row.get(name, "")) for name in columns))
    console.print(table)


def shown(value: Any) -> str:
    """Three digits of what is not whole."""
    if not isinstance(value, float):
        return str(value)
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def machine() -> dict[str, Any]:
    """What the figures depend on besides the code."""
    import os

    import scipy
    import torch
    import transformers

    return {
        "machine": platform.processor() or platform.machine(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
        "scipy": scipy.__version__,
        "transformers": transformers.__version__,
    }


def main() -> None:
    """Measure, print tables, and write JSON if asked."""
    from rich.console import Console

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="smaller sets, fewer rounds")
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    arguments = parser.parse_args()
    console, plan = Console(), QUICK if arguments.quick else FULL
    result = {**machine(), "tables": measure(plan, console)}
    if arguments.json:
        arguments.json.write_text(json.dumps(result, indent=2, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()
