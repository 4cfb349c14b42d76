"""Training step of the language model beside transformers' MusicGen decoder of the same shape.

python -m benchmarks.train_step [--shape small --batch 4 --frames 250 --ways plain "chunked loss"]

Both take the same codes and text and turns; the ratio is the median of pairs. On a CPU each has a
process of its own, as ours also sets its allocator: the peak of memory is the process's. On a GPU
they share one, and the peak is that of weights, gradients, optimizer and activations. float32 on a
CPU if nothing else is asked for, bfloat16 autocast on a GPU. The limit is the frames a second if
the device did nothing but the step's matrix products, at the rate that was measured in this run.
"""

import argparse
import statistics
from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

from benchmarks.alone import output_argument, run_alone
from benchmarks.limits import Limits
from benchmarks.lm_models import SHAPES, TEXT_LENGTH
from benchmarks.memory import peak_mib
from benchmarks.other_process import OtherProcess
from benchmarks.results import Row
from benchmarks.room import device_gb, held_mib, if_it_fits
from benchmarks.timing import device_name, in_turn, times_as_fast, training_dtype
from benchmarks.train_models import (
    FOR_CPUS,
    TECHNIQUES,
    Step,
    our_step,
    random_batch,
    transformers_step,
)

PEER = "transformers"
ON_CPU = (
    "plain", "chunked loss", "fused AdamW", "oneDNN's products", "freed memory kept",
    "attention for CPUs", "as train.py does",
)  # fmt: skip
FAST = ("as train.py does", "as train.py does, recomputed", "as train.py does, compiled")


class Plan(NamedTuple):
    """One shape, in several ways."""

    shape: str
    batch: int
    frames: int
    ways: Sequence[str]
    pairs: int = 5
    dtype: str | None = None  # of products; None: as the device's trainer has it

    @property
    def name(self) -> str:
        """Of its rows."""
        size = f"{self.shape}, {self.batch} x {self.frames} frames"
        return size if self.dtype is None else f"{size}, {self.dtype}"


PLANS = {
    "quick": [
        Plan("base", 4, 250, ON_CPU),
        Plan("base", 4, 250, ("as train.py does",), dtype="bfloat16"),
        Plan("small", 1, 250, ("as train.py does",)),
    ],
    "full": [
        Plan("small", 8, 1500, tuple(way for way in TECHNIQUES if way not in FOR_CPUS)),
        Plan("medium", 4, 1500, (*FAST, "as train.py does, compiled, 8-bit products")),
        Plan("large", 2, 1500, FAST[:2]),
        Plan("base", 32, 1500, ("plain", *FAST)),
    ],
    "dry": [Plan("tiny", 1, 20, tuple(TECHNIQUES), 1), Plan("tiny", 2, 20, FAST, 1)],
}


def rows_in(mode: str, limits: Limits) -> Iterator[Row]:
    """All rows of a mode; what fits into a GPU's memory where there is one, or is dry."""
    from benchmarks.train_fit import rows as fits

    for plan in PLANS[mode]:
        yield from rows(plan, limits)
    if mode != "quick":
        yield from fits(dry=mode == "dry")


def rows(plan: Plan, limits: Limits) -> Iterator[Row]:
    """A row a way; on a GPU each model is gone before the next one comes, but for the peer."""
    from musicgen_train.errors import UserError

    flops, dtype = flops_of_frame(plan), plan.dtype or training_dtype()
    peer = Peer(plan)
    try:
        for way in plan.ways:
            case = f"{plan.name}, {way}"
            try:
                row = measured(plan, way, peer)._replace(case=case)
            except UserError as error:  # what this device or installation does not have
                row = Row("training", case, note=str(error))
            used = utilisation(row, flops) if dtype == "bfloat16" else ""
            note = ", ".join(filter(None, [row.note, used]))
            yield row._replace(limit=limits.flops(dtype) / flops, note=note)
    finally:
        peer.leave()


class Here:
    """A step in this process, on a GPU; its peak memory is that beside what others hold."""

    def __init__(self, plan: Plan, way: str | None) -> None:
        import torch

        others = held_mib()
        self.step = make_step(plan, way)
        self.step()
        torch.cuda.reset_peak_memory_stats()
        self.step()
        self.mib = peak_mib() - others

    def __call__(self) -> None:
        self.step()

    def peak_mib(self) -> float:
        """Of a step, and what it keeps."""
        return self.mib

    def close(self) -> None:
        """Nothing is held but by this object."""


def begin(plan: Plan, way: str | None) -> Here | OtherProcess:
    """A step of ours in one of the ways, or the peer's, warmed up."""
    if device_name() == "cuda":
        return Here(plan, way)
    step = OtherProcess(make_step, plan, way)
    step()
    return step


class Peer:
    """transformers' model, as long as there is room for it."""

    def __init__(self, plan: Plan) -> None:
        self.step: Here | OtherProcess | None = None
        self.seconds: float | None = None  # alone
        self.mib: float | None = None

        def alone() -> Any:
            step = begin(plan, None)
            return step, in_turn({PEER: step}, 1)[PEER]

        found = if_it_fits(alone)
        if found is not None:
            self.step, times = found
            self.seconds = statistics.median(times)
            self.look()

    def look(self) -> None:
        """At the peak of its memory so far."""
        if self.step is not None:
            self.mib = self.step.peak_mib()

    def leave(self) -> None:
        """Make room."""
        if self.step is not None:
            self.step.close()
            self.step = None


def measured(plan: Plan, way: str, peer: Peer) -> Row:
    """Ours beside the peer; each alone where there is no room for both."""
    frames = plan.batch * plan.frames
    found, note = if_it_fits(lambda: paired(plan, way, peer.step)), ""
    if found is None and peer.step is not None:
        peer.leave()
        found, note = if_it_fits(lambda: paired(plan, way, None)), "one after the other"
    if found is None:
        return Row("training", way, note=f"does not fit into {device_gb():.0f} GB")
    times, mib = found
    peer.look()
    row = Row(
        "training", way, frames / statistics.median(times["ours"]), "frames/s", rounds=plan.pairs,
        mib=mib, peer_mib=peer.mib, note=note,
    )  # fmt: skip
    if PEER in times:
        ratio = times_as_fast(times["ours"], times[PEER])
        value = frames / statistics.median(times[PEER])
        return row._replace(peer=PEER, peer_value=value, ratio=ratio)
    if peer.seconds is not None:
        return row._replace(peer=PEER, peer_value=frames / peer.seconds)
    return row._replace(note=f"{PEER} does not fit")


def paired(
    plan: Plan, way: str, peer: Here | OtherProcess | None
) -> tuple[dict[str, list[float]], float]:
    """Seconds of steps in turn, and the peak memory of ours in MiB."""
    ours = begin(plan, way)
    try:
        calls = {"ours": ours} if peer is None else {"ours": ours, PEER: peer}
        return in_turn(calls, plan.pairs), ours.peak_mib()
    finally:
        ours.close()


def make_step(plan: Plan, way: str | None) -> Step:
    """A step of ours in one of the ways, or the peer's."""
    shape, dtype = SHAPES[plan.shape], plan.dtype or training_dtype()
    batch = random_batch(shape, plan.batch, plan.frames, device_name())
    if way is None:
        return transformers_step(shape, batch, dtype)
    return our_step(shape, batch, TECHNIQUES[way], dtype)


def flops_of_frame(plan: Plan) -> float:
    """Matrix products of a training step, for each frame of its batch."""
    from benchmarks.flops import training_flops
    from benchmarks.lm_models import our_model

    shape = SHAPES[plan.shape]
    lm = our_model(shape, "meta", text_dim=shape.dim)
    return training_flops(lm, plan.batch, plan.frames, TEXT_LENGTH) / (plan.batch * plan.frames)


def utilisation(row: Row, flops: float) -> str:
    """Model FLOPs utilisation of the data sheet's peak, where that is known."""
    import torch

    from musicgen_train.training.monitoring.model_flops import peak_flops

    peak = peak_flops(torch.device(device_name()), "bf16-mixed")
    if peak is None or row.value is None:
        return ""
    return f"MFU {row.value * flops / peak:.0%} of {peak / 1e12:.0f} TFLOP/s"


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    add = parser.add_argument
    add("--shape", choices=SHAPES, default="base")
    add("--batch", type=int, default=4)
    add("--frames", type=int, default=250)
    add("--pairs", type=int, default=5)
    add("--ways", nargs="+", choices=TECHNIQUES, default=list(ON_CPU), metavar="WAY")
    add("--dtype", choices=("float32", "bfloat16"), help="of products")
    output_argument(parser)
    args = parser.parse_args()
    plan = Plan(args.shape, args.batch, args.frames, args.ways, args.pairs, args.dtype)
    run_alone(lambda limits: rows(plan, limits), args.output)


if __name__ == "__main__":
    main()
