"""Peak memory of a language model's training step: plain, chunked, recomputed; and transformers'.

python -m benchmarks.train_memory [--dim 512 --layers 8 --heads 8 --batch 8 --frames 500]

Each kind of step runs in a process of its own. "step" is what the step adds to what was there
before the first one: the weights, and whatever Python loads.
"""

import argparse
import json
import os
from collections.abc import Callable
from typing import Any

from benchmarks.memory import in_fresh_process, peak_mib
from benchmarks.train_step import batch, our_step, seconds, shape_arguments, transformers_step

STEPS: dict[str, tuple[Callable[..., Any], dict[str, bool]]] = {
    "ours, plain": (our_step, {"chunked": False}),
    "ours, chunked loss": (our_step, {}),
    "ours, chunked loss and recomputed layers": (our_step, {"recompute": True}),
    "transformers, plain": (transformers_step, {}),
    "transformers, gradient checkpointing": (transformers_step, {"recompute": True}),
}


def measure(kind: str, shape: argparse.Namespace) -> dict[str, float]:
    """Two steps of one kind: MiB before them, at their peak, and the second one's seconds."""
    make, options = STEPS[kind]
    step = make(shape, *batch(shape), **options)
    before = peak_mib()
    step()
    return {"seconds": seconds(step), "before": before, "peak": peak_mib()}


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    shape_arguments(parser, dim=512, layers=8, heads=8, batch=8, frames=500)
    shape = parser.parse_args()
    # Freed blocks go back at once, so that the peak is what is in use and not the allocator's.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    results = {kind: in_fresh_process(measure, kind, shape) for kind in STEPS}
    print(f"{'':42} {'peak':>9} {'step':>9} {'time':>7}")
    for kind, found in results.items():
        step = found["peak"] - found["before"]
        print(f"{kind:42} {found['peak']:5.0f} MiB {step:5.0f} MiB {found['seconds']:5.2f} s")
    print(json.dumps({"shape": vars(shape), "results": results}))


if __name__ == "__main__":
    main()
