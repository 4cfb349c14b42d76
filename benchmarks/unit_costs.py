"""What one hour of music, one token, one checkpoint and one sample cost on this machine.

python -m benchmarks.unit_costs [--quick] [--output costs.json]

`python -m benchmarks.scaling costs.json` makes the cost of a cluster's run of these. Speeds of
preparing, tokenising and separating are those of one core; models have random weights of the
published shapes. FLOPs, tokens and bytes of checkpoints are counted, not measured.
"""

import argparse
import json
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any


def measure(quick: bool) -> dict[str, Any]:
    """All unit costs, each part printed as soon as it is there."""
    import torch

    from benchmarks import unit_costs_data, unit_costs_model
    from benchmarks.results import machine

    hardware = machine()
    results: dict[str, Any] = {
        "cpu": hardware["cpu"],
        "gpu": hardware["gpu"],
        "torch": torch.__version__,
        "quick": quick,
    }
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        parts: dict[str, Callable[[], Any]] = {
            "models": unit_costs_model.count_models,
            "training": lambda: unit_costs_model.training_speed(quick),
            "checkpoint": lambda: unit_costs_model.checkpoint_speed(folder, quick),
            "index": unit_costs_data.index_costs,
            "loading": lambda: unit_costs_data.loading(folder, quick),
            "preparing": lambda: unit_costs_data.preparing(folder, quick),
            "separating": unit_costs_model.separating,
        }
        for part, work in parts.items():
            began = time.perf_counter()
            results[part] = work()
            print(f"{part} ({time.perf_counter() - began:.0f} s): {results[part]}", flush=True)
    return results


def main() -> None:
    """Measure, print, and write JSON if asked."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--quick", action="store_true", help="3 minutes on two cores")
    parser.add_argument("--output", type=Path, help="also write the figures to this JSON file")
    arguments = parser.parse_args()
    results = measure(arguments.quick)
    if arguments.output:
        from musicgen_train.whole_files import write_json

        write_json(arguments.output, results)
    else:
        print(json.dumps(results))


if __name__ == "__main__":
    main()
