"""Peak memory of a language model's training step: plain, chunked, recomputed; and transformers'.

python -m benchmarks.train_memory [--dim 512 --layers 8 --heads 8 --batch 8 --frames 500]

Each kind of step runs in a process of its own. "step" is what the step adds to what was there
before the first one: the weights, and whatever Python loads.
"""

import argparse
import json
import os

from benchmarks.lm_models import Shape
from benchmarks.memory import in_fresh_process, peak_mib
from benchmarks.timing import device_name, seconds, training_dtype
from benchmarks.train_models import Ways, our_step, random_batch, transformers_step

OURS = {
    "ours, plain": Ways(),
    "ours, chunked loss": Ways(chunked=True),
    "ours, chunked loss and recomputed layers": Ways(chunked=True, recompute=True),
}
THEIRS = {"transformers, plain": False, "transformers, gradient checkpointing": True}


def measure(kind: str, shape: Shape, batch_size: int, n_frames: int) -> dict[str, float]:
    """Two steps of one kind: MiB before them, at their peak, and the second one's seconds."""
    batch = random_batch(shape, batch_size, n_frames, device_name())
    if kind in OURS:
        step = our_step(shape, batch, OURS[kind], training_dtype())
    else:
        step = transformers_step(shape, batch, training_dtype(), recompute=THEIRS[kind])
    before = peak_mib()
    step()
    return {"seconds": seconds(step), "before": before, "peak": peak_mib()}


def main() -> None:
    """Measure, print a table and JSON."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    for name, default in {"dim": 512, "layers": 8, "heads": 8, "batch": 8, "frames": 500}.items():
        parser.add_argument(f"--{name}", type=int, default=default)
    args = parser.parse_args()
    # Freed blocks go back at once, so that the peak is what is in use and not the allocator's.
    os.environ["MALLOC_MMAP_THRESHOLD_"] = "65536"
    sizes = Shape(args.dim, args.layers, args.heads), args.batch, args.frames
    results = {kind: in_fresh_process(measure, kind, *sizes) for kind in (*OURS, *THEIRS)}
    print(f"{'':42} {'peak':>9} {'step':>9} {'time':>7}")
    for kind, found in results.items():
        step = found["peak"] - found["before"]
        print(f"{kind:42} {found['peak']:5.0f} MiB {step:5.0f} MiB {found['seconds']:5.2f} s")
    print(json.dumps({"shape": vars(args), "results": results}))


if __name__ == "__main__":
    main()
