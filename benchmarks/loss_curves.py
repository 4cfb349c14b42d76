"""Loss curves of training runs, as pictures and as numbers.

python -m benchmarks.loss_curves runs/mine runs/other --output FOLDER     NAME.png, losses.json
"""

import argparse
from pathlib import Path

from musicgen_train.errors import exit_on_user_error


@exit_on_user_error
def main(argv: list[str] | None = None) -> None:
    """Write what was logged, and print each run's first and last training loss."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("runs", nargs="+", type=Path, help="folders of train.py")
    parser.add_argument("--output", type=Path, required=True)
    args = parser.parse_args(argv)

    from musicgen_train.evaluation.report.plots import curve_panels, plot_curves
    from musicgen_train.evaluation.report.training_runs import run_logs
    from musicgen_train.whole_files import write_json

    curves = {}
    for run in args.runs:
        logs = run_logs(run)
        curves[run.name] = curve_panels(logs)
        plot_curves(logs, args.output / f"{run.name}.png")
        losses = curves[run.name].get("ce", {}).get("train", [])
        if losses:
            (first, began), (last, ended) = losses[0], losses[-1]
            print(f"{run.name}: {began:.3f} nats at step {first:.0f}, {ended:.3f} at {last:.0f}")
    write_json(args.output / "losses.json", curves)


if __name__ == "__main__":
    main()
