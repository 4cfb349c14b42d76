"""Finished evaluations side by side: `python -m musicgen_train.evaluation.compare --help`."""

import argparse
from pathlib import Path

from musicgen_train.errors import UserError, exit_on_user_error


def parser() -> argparse.ArgumentParser:
    """Folders of evaluations, and where the page goes."""
    p = argparse.ArgumentParser(
        prog="python -m musicgen_train.evaluation.compare",
        description="Compare what evaluate.py measured in two runs or more: which is better in "
        "what, and what cannot be told or compared.",
    )
    p.add_argument("runs", type=Path, nargs="+", metavar="RUN_DIR", help="folder of metrics.json")
    p.add_argument("--output", type=Path, required=True, metavar="DIR", help="for index.html")
    p.add_argument("--names", metavar="A,B,…", help="of the runs (default: their folders')")
    p.add_argument("--clips", type=int, default=6, help="prompts to listen to (default: 6)")
    return p


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Print the comparison and write its page."""
    args = parser().parse_args(argv)
    if args.clips < 0:
        raise UserError(f"--clips {args.clips}: use a number from 0 on")
    # Here, not above: torch takes seconds, and --help must not wait for it.
    from musicgen_train.evaluation.report.compare_page import check_output, write_comparison
    from musicgen_train.evaluation.report.compare_words import print_comparison
    from musicgen_train.evaluation.report.run_comparison import compare_runs
    from musicgen_train.evaluation.report.runs import read_runs

    check_output(args.output, args.runs)
    runs = read_runs(args.runs, None if args.names is None else args.names.split(","))
    compared = compare_runs(runs)
    print_comparison(compared)
    print(f"comparison: {write_comparison(compared, args.output, args.clips)}")


if __name__ == "__main__":
    main()
