"""Rewrite the tables of docs/scaling.md from measured unit costs and stated assumptions.

python -m benchmarks.scaling costs.json [--gpu-hour 2.5 --mfu 0.4 …] [--page docs/scaling.md]

costs.json is what `python -m benchmarks.unit_costs --output costs.json` wrote. Each table stands
between two comments of the page that name it; the text around them is left as it is.
"""

import argparse
import json
import re
from dataclasses import fields
from pathlib import Path
from typing import Any

from benchmarks.scaling_costs import Assumptions
from musicgen_train.errors import UserError

PAGE = Path(__file__).parents[1] / "docs" / "scaling.md"


def rewritten(text: str, tables: dict[str, str]) -> str:
    """The page with each table between `<!-- table NAME -->` and `<!-- end -->` replaced.

    Raises UserError if the page lacks a table, or has one that is not known.
    """
    names = re.findall(r"<!-- table (\w+) -->", text)
    if sorted(names) != sorted(tables):
        raise UserError(
            f"the page has the tables {sorted(names)}, and there are {sorted(tables)}; mend the "
            "comments <!-- table NAME --> and <!-- end --> around them"
        )
    for name, table in tables.items():
        pattern = rf"(<!-- table {name} -->\n).*?(<!-- end -->)"
        text, n = re.subn(
            pattern, lambda m, table=table: f"{m[1]}\n{table}\n\n{m[2]}", text, flags=re.DOTALL
        )
        if n != 1:
            raise UserError(f"the page's table {name} has no end; write <!-- end --> behind it")
    return text


def read_costs(path: Path) -> dict[str, Any]:
    """The unit costs; raises UserError if the file is none of unit_costs'."""
    try:
        costs = json.loads(path.read_text())
        missing = {"models", "preparing", "separating", "loading", "checkpoint"} - set(costs)
    except (OSError, ValueError, TypeError) as error:
        raise UserError(f"{path}: cannot be read ({error}); name a file of unit_costs") from None
    if missing:
        raise UserError(
            f"{path}: lacks {', '.join(sorted(missing))}; make it with python -m "
            "benchmarks.unit_costs --output FILE"
        )
    return costs


def main() -> None:
    """Rewrite the page."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("costs", type=Path, help="JSON of benchmarks.unit_costs")
    parser.add_argument("--page", type=Path, default=PAGE)
    for field in fields(Assumptions):
        default: Any = field.default
        parser.add_argument(
            f"--{field.name.replace('_', '-')}", type=type(default), default=default,
            help=f"({default:g})",
        )  # fmt: skip
    arguments = parser.parse_args()
    from benchmarks.scaling_tables import all_tables
    from musicgen_train.whole_files import write_text

    given = Assumptions(**{f.name: getattr(arguments, f.name) for f in fields(Assumptions)})
    try:
        tables = all_tables(read_costs(arguments.costs), given)
        write_text(arguments.page, rewritten(arguments.page.read_text(), tables))
    except UserError as error:
        parser.exit(2, f"error: {error}\n")
    print(f"{', '.join(tables)} -> {arguments.page}")


if __name__ == "__main__":
    main()
