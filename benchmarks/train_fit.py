"""Which trainings of the medium shape fit into which GPU: their peak memory, measured.

Each runs two steps in a process of its own that may not allocate more than the smaller GPU has, so
that "fits" is tried and not calculated. Weights, gradients, averages and optimizer are float32, the
products bfloat16, the text a frozen encoder's output, as `trainer=gpu` trains.
"""

from collections.abc import Iterator
from typing import NamedTuple

from benchmarks.lm_models import SHAPES, our_model
from benchmarks.memory import in_fresh_process
from benchmarks.results import Row
from benchmarks.timing import device_name, seconds, training_dtype

CUDA_GB = 1.0  # of the driver and its libraries, outside of torch's allocator


class Case(NamedTuple):
    """A training, and the memory of the GPU that it is meant for."""

    name: str
    gb: float
    batch: int
    lora: bool = False
    recompute: bool = False
    eight_bits: bool = False  # of AdamW's averages
    average: bool = True  # of the weights, as task.ema_decay asks


CASES = (
    Case("LoRA of rank 16", 24, 1, lora=True),
    Case("LoRA of rank 16, recomputed", 24, 4, lora=True, recompute=True),
    Case("all weights, recomputed, 8-bit AdamW, no average", 24, 1, recompute=True,
         eight_bits=True, average=False),
    Case("all weights", 80, 4),
    Case("all weights, recomputed", 80, 16, recompute=True),
)  # fmt: skip


def rows(*, dry: bool = False) -> Iterator[Row]:
    """A row a case; none without a GPU, unless dry."""
    if device_name() == "cpu" and not dry:
        return
    shape, frames = ("tiny", 20) if dry else ("medium", 1500)
    for case in CASES:
        size = f"{case.batch} x {frames} frames"
        name = f"{shape}, {size}, {case.name}: fits into {case.gb:.0f} GB?"
        found = in_fresh_process(peak_gb, case, shape, frames)
        if isinstance(found, str):
            yield Row("training", name, note=found)
        else:
            gb, step = found
            note = f"yes; {step:.2f} s a step"
            yield Row("training", name, gb, "GB", limit=case.gb, note=note)


def peak_gb(case: Case, shape: str, frames: int) -> tuple[float, float] | str:
    """Peak of the allocator in 10^9 bytes and seconds of a step, or why there is none.

    On a CPU, where this is only tried out, the peak is that of the process.
    """
    import torch

    from benchmarks.memory import peak_mib
    from benchmarks.room import if_it_fits
    from musicgen_train.errors import UserError

    if torch.cuda.is_available():
        total = torch.cuda.get_device_properties(0).total_memory
        if total < 1e9 * case.gb * 0.98:
            return f"not measured: this GPU has {total / 1e9:.0f} GB"
        torch.cuda.set_per_process_memory_fraction(min(1.0, 1e9 * (case.gb - CUDA_GB) / total))

    def steps() -> float:
        step = make_step(case, shape, frames)
        step()
        step()
        return seconds(step)

    try:
        found = if_it_fits(steps)
    except UserError as error:
        return str(error)
    if found is None:
        return "no"
    return peak_mib() * 2**20 / 1e9, found


def make_step(case: Case, shape: str, frames: int):
    """A training step with everything that a run keeps in memory."""
    import copy

    from benchmarks.train_models import adamw, our_loss, random_batch, stepper
    from musicgen_train.training.optimizers import adamw_8bit
    from musicgen_train.training.transforms import recompute_layers

    device = device_name()
    lm = our_model(SHAPES[shape], device, text_dim=SHAPES[shape].dim).train()
    if case.lora:
        from musicgen_train.adapters.injection import inject

        inject(lm, kind="lora", rank=16, alpha=32.0, dropout=0.05, targets=None, base_name="random")
    if case.recompute:
        recompute_layers(lm)
    average = copy.deepcopy(lm) if case.average and not case.lora else None
    loss = our_loss(lm, random_batch(SHAPES[shape], case.batch, frames, device), chunked=True)
    optimizer = adamw(lm, fused=True)
    if case.eight_bits:
        trained = [(name, p) for name, p in lm.named_parameters() if p.requires_grad]
        optimizer = adamw_8bit(trained, lr=1e-4)
    step = stepper(lm, loss, optimizer, training_dtype())

    def step_and_average() -> None:
        step()
        if average is not None:
            for ours, theirs in zip(average.parameters(), lm.parameters(), strict=True):
                ours.data.lerp_(theirs.data, 0.01)

    return step_and_average
