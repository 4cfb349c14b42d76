"""Measure speed and memory beside peers, and write benchmarks/RESULTS.md.

python -m benchmarks [--quick | --full | --dry-run] [--only training,codec] [--output FOLDER]
python -m benchmarks --table            only write RESULTS.md anew from the files there

Quick takes about 10 minutes on two CPU cores, full is for a GPU; without a choice it is full
where there is a GPU. Each benchmark runs in a process of its own and its rows are kept as they
come, in FOLDER/MACHINE.json: an interrupted run keeps what it had, and one that runs a part
(--only) leaves the rest of the file alone. A benchmark that fails is a line with its reason, and
the exit status is 1. The figures want an otherwise idle machine.
"""

import argparse
import sys
from pathlib import Path

from musicgen_train.errors import UserError, exit_on_user_error

# What a quick run takes on two CPU cores, in seconds, until this machine has a time of its own;
# and the module that has the rows.
BENCHMARKS: dict[str, tuple[str, float]] = {
    "training": ("benchmarks.train_step", 250),
    "generation": ("benchmarks.generate", 130),
    "profile": ("benchmarks.generate_profile", 40),
    "codec": ("benchmarks.codec", 90),
    "evaluation": ("benchmarks.evaluation", 90),
    "data": ("benchmarks.data", 100),
}
FOLDER = Path(__file__).parent / "results"


def parse(argv: list[str] | None) -> argparse.Namespace:
    """The command line, checked."""
    form = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(
        "python -m benchmarks", description=__doc__, formatter_class=form
    )
    add, modes = parser.add_argument, parser.add_mutually_exclusive_group()
    modes.add_argument("--quick", dest="mode", action="store_const", const="quick", help="for CPUs")
    modes.add_argument("--full", dest="mode", action="store_const", const="full", help="for GPUs")
    modes.add_argument(
        "--dry-run", dest="mode", action="store_const", const="dry",
        help="everything in the smallest size: shows that it runs; the figures mean nothing",
    )  # fmt: skip
    add("--only", metavar="NAMES", help=f"some of {','.join(BENCHMARKS)}")
    add("--limit", type=float, metavar="SECONDS", help="of each benchmark; it is stopped then")
    add(
        "--output",
        type=Path,
        default=FOLDER,
        metavar="FOLDER",
        help="of the results, default benchmarks/results",
    )
    add("--table", action="store_true", help="measure nothing, only write the table")
    return parser.parse_args(argv)


def chosen(only: str | None) -> list[str]:
    """The benchmarks asked for, in their order."""
    if only is None:
        return list(BENCHMARKS)
    names = [name.strip() for name in only.split(",")]
    for name in names:
        if name not in BENCHMARKS:
            raise UserError(f"--only: no benchmark {name!r}: choose some of {','.join(BENCHMARKS)}")
    return [name for name in BENCHMARKS if name in names]


def page_of(folder: Path) -> Path:
    """Beside the folder of results in this repository; in any other one."""
    return folder.parent / "RESULTS.md" if folder.resolve() == FOLDER else folder / "RESULTS.md"


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Measure what is asked for, write the table, exit with 1 if anything failed."""
    arguments = parse(argv)
    names = chosen(arguments.only)
    from benchmarks.tables import write_page

    page = page_of(arguments.output)
    if arguments.table:
        if not list(arguments.output.glob("*.json")):
            raise UserError(f"{arguments.output} has no results: run python -m benchmarks first")
        write_page(arguments.output, page)
        print(page)
        return
    from benchmarks.running import run_all

    expected = {name: BENCHMARKS[name] for name in names}
    failed = run_all(expected, arguments.mode, arguments.output, arguments.limit)
    write_page(arguments.output, page)
    print(f"{page}{f': {failed} failed' if failed else ''}")
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
