"""Where the milliseconds of one step of generation go.

python -m benchmarks.generate_profile [--shape small --batch 1 --steps 40]

Every part's function is timed where it is called (by the clock on a CPU, by events in the stream
of a GPU); what a step takes beyond them is Python and the small calls between, and steps without
these timers tell what the timers add. Prints a table for docs/generation.md.
"""

import argparse
from collections.abc import Iterator
from typing import TYPE_CHECKING, NamedTuple

from benchmarks.alone import output_argument, run_alone
from benchmarks.generate import prepared, variants
from benchmarks.limits import Limits
from benchmarks.lm_models import SHAPES, TEXT_DIM, TEXT_LENGTH, our_model
from benchmarks.part_clock import PartClock
from benchmarks.results import Row
from benchmarks.stepping import WARM, our_run
from benchmarks.timing import device_name, synchronize

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.lm import LanguageModel

REST = "Python, and calls between the parts"


class Plan(NamedTuple):
    """What is generated."""

    shape: str
    batch: int
    steps: int  # that are timed


PLANS = {
    "quick": [Plan("small", 1, 30)],
    "full": [Plan("small", 1, 50), Plan("small", 16, 50)],
    "dry": [Plan("tiny", 1, 3)],
}


def rows_in(mode: str, limits: Limits) -> Iterator[Row]:
    """All rows of a mode."""
    for plan in PLANS[mode]:
        yield from rows(plan)


def rows(plan: Plan) -> Iterator[Row]:
    """Milliseconds of each part of a step of each variant that runs as it is written."""
    import torch

    device = device_name()
    lm = our_model(SHAPES[plan.shape], device).eval()
    text = torch.randn(plan.batch, TEXT_LENGTH, TEXT_DIM, device=device)
    for name, options in variants(device == "cuda").items():
        case = f"{plan.shape}, batch {plan.batch}, {name}"
        model = prepared(lm, options)
        plain = our_run(model, text, plan.steps + WARM)[0]
        if model.acceleration is None:
            whole, parts = step_parts(model, text, plan.steps)
            parts[REST] = whole - sum(parts.values())
            for part, spent in sorted(parts.items(), key=lambda item: -item[1]):
                note = f"{spent / whole:.0%} of the step"
                yield Row("profile", f"{case}: {part}", 1000 * spent, "ms", note=note)
            added = f"{1000 * (whole - plain):.2g} ms more with the timers"
            yield Row("profile", f"{case}: the step", 1000 * plain, "ms", note=added)
        else:
            yield Row("profile", f"{case}: the step", 1000 * plain, "ms", note="one graph")


def step_parts(lm: "LanguageModel", text: "Tensor", steps: int) -> tuple[float, dict[str, float]]:
    """Seconds of a step in the middle of a generation, and of each of its parts, means."""
    import torch

    mask = torch.ones(text.shape[:2], device=text.device)
    # The last step of a loop is not timed: what follows it is the end of the generation.
    clock = PartClock(text.device.type)
    for progress in lm.steps(WARM + steps + 1, (text, mask), greedy=False, seeds=[0] * len(text)):
        if progress.done == WARM:
            watch_parts(clock, lm)
            clock.enter("whole")
        if progress.done == WARM + steps:
            clock.leave()
            clock.release()
    synchronize()
    found = clock.seconds()
    own = found.pop("whole")
    parts = {part: spent / steps for part, spent in found.items()}
    return own / steps + sum(parts.values()), parts


def watch_parts(clock: PartClock, lm: "LanguageModel") -> None:
    """Time whatever a step calls, by what it is for."""
    from torch import nn

    from musicgen_train.lm import decoder, model, transformer

    clock.watch(lm.embedding, "forward", "embeddings and positions")
    clock.watch(model, "sinusoid", "embeddings and positions")
    clock.watch(lm.heads, "forward", "heads")
    clock.watch(decoder, "choose", "sampling, with guidance")
    for name in ("write", "read"):
        clock.watch(transformer.KVCache, name, "cache of keys and values")
    for layer in lm.layers:
        clock.watch(layer.ffn, "forward", "feed-forward")
        for attention in (layer.self_attn, layer.cross_attn):
            clock.watch(attention, "attend", "attention")
            for name in ("qkv", "q", "out"):
                if hasattr(attention, name):
                    clock.watch(getattr(attention, name), "forward", "projections of attention")
    for module in lm.modules():
        if isinstance(module, nn.LayerNorm):
            clock.watch(module, "forward", "norms")


def main() -> None:
    """Measure and print a table."""
    from benchmarks.tables import table

    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="small")
    add("--batch", type=int, default=1)
    add("--steps", type=int, default=40)
    output_argument(parser)
    args = parser.parse_args()
    found: list[Row] = []

    def noted(limits: Limits) -> Iterator[Row]:
        for row in rows(Plan(args.shape, args.batch, args.steps)):
            found.append(row)
            yield row

    run_alone(noted, args.output)
    print("\n".join(table(found)))


if __name__ == "__main__":
    main()
