"""What a run will take: parameters, memory of a device, time; and what to change if it is too much.

The batch is measured (estimate.py). Added to it is what training makes besides: the optimizer's
state, DDP's copy of the gradients. A sharded model may not fit on one device, so it is measured
with one and with two layers, and its weights, gradients, averages and state are divided by the
ranks.
"""

import copy
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel

from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.errors import UserError
from musicgen_train.training.estimating.device_memory import GB, available_memory, used_memory
from musicgen_train.training.estimating.estimate import StepEstimate
from musicgen_train.training.monitoring.progress import clock_time
from musicgen_train.training.optimizers import bytes_per_parameter
from musicgen_train.training.transforms import recompute_layers

GATHERED = 2  # layers of a sharded model that are whole at once: this one, and the next


class Sizes(NamedTuple):
    """Bytes of a model's parts, on all ranks together."""

    trained: int  # parameters, their number
    frozen: int  # their number
    averaged: int  # their number
    weights: float  # bytes, averages and buffers included
    average_weights: float  # bytes of the averages among them
    gradients: float
    state: float  # of the optimizers


class RunEstimate(NamedTuple):
    """What a run takes of each device."""

    step: StepEstimate
    sizes: Sizes
    extra_memory: float  # bytes beside the step's: optimizer state, buckets
    steps: int  # still to be made; below 0: without end
    accumulate: int  # batches of a step
    available: float | None  # bytes of a device for one process
    export_memory: float = 0.0  # bytes that writing the model takes at the end, on the device

    @property
    def memory(self) -> float:
        """Bytes of a device, at the step's highest or at the end, when no batch is there."""
        highest = max(self.step.batch_size * self.step.item_memory, self.export_memory)
        return self.step.fixed_memory + highest + self.extra_memory

    @property
    def fits(self) -> bool:
        return self.available is None or self.memory <= self.available

    @property
    def fitting_batch(self) -> int:
        """The largest batch that fits; 0 if none does."""
        if self.available is None:
            return self.step.batch_size
        left = self.available - self.step.fixed_memory - self.extra_memory
        return max(0, int(left / max(self.step.item_memory, 1))) if left > self.export_memory else 0

    def __str__(self) -> str:
        sizes = self.sizes
        parts = [f"{_millions(sizes.trained)} parameters"]
        if sizes.frozen:
            parts.append(f"{_millions(sizes.frozen)} frozen")
        if sizes.averaged:
            parts.append(f"averages of {_millions(sizes.averaged)}")
        there = f" of {self.available / GB:.1f} GB" if self.available is not None else ""
        seconds = self.step.seconds * self.accumulate
        time = f"steps of about {_seconds(seconds)}"
        if self.steps >= 0:
            time = f"{self.steps} {time}: {_duration(self.steps * seconds)}"
        return f"{', '.join(parts)}; {self.memory / GB:.2f} GB{there} of memory; {time}"


def estimate_run(
    task: Any, datamodule: MusicDataModule, trainer: L.Trainer, done: int = 0
) -> RunEstimate:
    """Measure a batch on the trainer's device; `done`: steps that a resumed run has made."""
    device, world = trainer.strategy.root_device, _world_size(trainer)
    sizes = model_sizes(task)
    available = available_memory(device)
    if available is not None and device.type == "cpu":
        available /= max(1, trainer.num_devices)  # processes share it
    extra = sizes.state
    with trainer.precision_plugin.forward_context():
        if isinstance(trainer.strategy, ModelParallelStrategy):
            step = _sharded_step(task, datamodule, trainer, sizes)
            extra /= world
        else:
            step = task.to(device).estimate(datamodule)
            if isinstance(trainer.strategy, DDPStrategy) and not _buckets_are_gradients(trainer):
                extra += sizes.gradients
    steps = trainer.max_steps - done if trainer.max_steps >= 0 else -1
    # A safetensors file is put together in the memory of the process before it is written.
    copies = 1 if getattr(task, "adapter", None) is None else 2  # one to merge the adapter into
    export = copies * (sizes.weights - sizes.average_weights) if device.type == "cpu" else 0.0
    return RunEstimate(
        step, sizes, extra, steps, trainer.accumulate_grad_batches, available, export
    )


def check_fit(
    expected: RunEstimate, task: Any, datamodule: MusicDataModule, trainer: L.Trainer
) -> None:
    """Refuse a run that will not fit, and name what will; the task cannot be trained after that."""
    if expected.fits:
        return
    assert expected.available is not None
    ways = _ways(expected, task, lambda: estimate_run(task, datamodule, trainer), trainer)
    advice = "; or ".join(ways) or "take a smaller model (model=small, …) or a larger device"
    raise UserError(
        f"a step of data.batch_size={expected.step.batch_size} takes about "
        f"{expected.memory / GB:.1f} GB, but {expected.available / GB:.1f} GB are there: {advice}"
    )


def _ways(
    expected: RunEstimate, task: Any, again: Callable[[], RunEstimate], trainer: L.Trainer
) -> list[str]:
    """Settings that fit, each one line of the command."""
    ways = [_smaller_batch(expected, task.automatic_optimization)]
    with_8bit = expected._replace(extra_memory=expected.extra_memory - _saved_by_8bit(expected))
    recomputing = None
    if _keeps_activations(task):
        recompute_layers(task.lm)
        recomputing = again()
        ways.append("task.recompute=true" if recomputing.fits else "")
        if not recomputing.fits:
            smaller = _smaller_batch(recomputing, task.automatic_optimization)
            ways.append(f"task.recompute=true {smaller}" if smaller and not ways[0] else "")
    ways.append("optim=adamw_8bit" if with_8bit.fits and trainer_is_gpu(trainer) else "")
    if not any(ways) and recomputing is not None and trainer_is_gpu(trainer):
        both = recomputing._replace(
            extra_memory=recomputing.extra_memory - _saved_by_8bit(expected)
        )
        smaller = _smaller_batch(both, task.automatic_optimization)
        if both.fitting_batch:
            ways.append(f"task.recompute=true optim=adamw_8bit {smaller}".rstrip())
    world = _world_size(trainer)
    sharded = isinstance(trainer.strategy, ModelParallelStrategy)
    if world > 1 and not sharded and hasattr(task, "lm") and task.adapter is None:
        whole = expected.sizes.weights + expected.sizes.gradients + expected.sizes.state
        saved = whole * (1 - 1 / world) + expected.extra_memory - expected.sizes.state
        if expected.memory - saved <= (expected.available or 0):
            ways.append("trainer=fsdp")
    return [way for way in ways if way]


def _smaller_batch(expected: RunEstimate, accumulates: bool) -> str:
    """The largest batch that fits and, accumulated, gives the same steps; "" if none fits."""
    size, fitting = expected.step.batch_size, min(expected.fitting_batch, expected.step.batch_size)
    if fitting < 1:
        return ""
    if not accumulates:
        return f"data.batch_size={fitting}"
    divisor = max(n for n in range(1, fitting + 1) if size % n == 0)
    product = expected.accumulate * size // divisor
    return f"data.batch_size={divisor} trainer.accumulate_grad_batches={product}"


def model_sizes(task: Any) -> Sizes:
    """Count parameters, and the bytes of what training holds of them."""
    names = tuple(f"{n}." for n, m in task.named_modules() if isinstance(m, AveragedModel))
    # What an average shares with the model has the model's name.
    named = list(task.named_parameters())
    averaged = [p for name, p in named if name.startswith(names)]
    own = [p for name, p in named if not name.startswith(names)]
    trained = [p for p in own if p.requires_grad]
    tensors = {id(t): t for t in (*task.parameters(), *task.buffers())}
    return Sizes(
        trained=sum(p.numel() for p in trained),
        frozen=sum(p.numel() for p in own if not p.requires_grad),
        averaged=sum(p.numel() for p in averaged),
        weights=_bytes_in(tensors.values()),
        average_weights=_bytes_in(averaged),
        gradients=_bytes_in(trained),
        state=_state_bytes(task),
    )


def _state_bytes(task: Any) -> float:
    """Bytes of all optimizers' state."""
    named = [(n, p) for n, p in task.named_parameters() if p.requires_grad]
    adversary = getattr(task, "adversary", None)
    if adversary is None:
        return _bytes_of(task.optimizer, named)
    others = [(n, p) for n, p in named if n.startswith("adversary.")]
    own = [(n, p) for n, p in named if not n.startswith("adversary.")]
    return _bytes_of(task.optimizer, own) + _bytes_of(adversary.optimizer, others)


def _bytes_of(optimizer: Any, named: list[tuple[str, Any]]) -> float:
    return bytes_per_parameter(optimizer, named) * sum(p.numel() for _, p in named)


def _sharded_step(
    task: Any, datamodule: MusicDataModule, trainer: L.Trainer, sizes: Sizes
) -> StepEstimate:
    """The step of one rank, from the activations of the same model with one and two layers."""
    device, world = trainer.strategy.root_device, _world_size(trainer)
    layers = list(task.lm.layers)
    first, second = (_with_layers(task, n, datamodule, device) for n in (1, min(2, len(layers))))
    more = len(layers) - 1
    base = used_memory(device) - (sizes.weights if device.type == "cpu" else 0)
    item = first.item_memory + more * max(second.item_memory - first.item_memory, 0.0)
    seconds = first.seconds + more * max(second.seconds - first.seconds, 0.0)
    parts = (sizes.weights + sizes.gradients) / world
    layer = _bytes_in(layers[0].parameters())
    # What is outside the layers stays gathered through the step; its gradient, and those of the
    # gathered layers, are whole until they are scattered.
    outside = sizes.gradients - len(layers) * layer
    gathered = 2 * (outside + min(GATHERED, len(layers)) * layer)
    return StepEstimate(datamodule.batch_size, base + parts + gathered, item, seconds)


def _with_layers(
    task: Any, n: int, datamodule: MusicDataModule, device: torch.device
) -> StepEstimate:
    """The estimate of the same task with its first n layers, on the device meanwhile."""
    lm, view = copy.copy(task.lm), copy.copy(task)
    lm._modules = {**lm._modules, "layers": nn.ModuleList(list(task.lm.layers)[:n])}
    view._modules = {**view._modules, "lm": lm, "average": None}
    view.to(device)
    estimate = view.estimate(datamodule)
    view.to("cpu")
    return estimate


def _bytes_in(tensors: Iterable[Tensor]) -> float:
    return float(sum(t.numel() * t.element_size() for t in tensors))


def _keeps_activations(task: Any) -> bool:
    """Whether the layers are those of a language model and do not recompute."""
    return hasattr(task, "lm") and "forward" not in vars(task.lm.layers[0])


def _saved_by_8bit(expected: RunEstimate) -> float:
    """Bytes that an optimizer with two bytes of state for each parameter has less."""
    return max(0.0, expected.sizes.state - 2.0 * expected.sizes.trained)


def _buckets_are_gradients(trainer: L.Trainer) -> bool:
    kwargs: dict[str, Any] = trainer.strategy._ddp_kwargs  # type: ignore[attr-defined]
    return bool(kwargs.get("gradient_as_bucket_view"))


def trainer_is_gpu(trainer: L.Trainer) -> bool:
    """Whether the libraries of 8-bit optimizers run on the trainer's device."""
    return trainer.strategy.root_device.type == "cuda"


def _world_size(trainer: L.Trainer) -> int:
    return max(1, trainer.num_devices * trainer.num_nodes)


def _millions(count: int) -> str:
    """7.2 M, 1.84 B."""
    if count >= 1e9:
        return f"{count / 1e9:.2f} B"
    return f"{count / 1e6:.1f} M" if count >= 1e5 else f"{count}"


def _seconds(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1 else f"{1000 * seconds:.0f} ms"


def _duration(seconds: float) -> str:
    """40 s, 7 min, 3:05 h, 2 d 03:05 h."""
    if seconds < 90:
        return f"{seconds:.0f} s"
    if seconds < 90 * 60:
        return f"{seconds / 60:.0f} min"
    return clock_time(seconds) if seconds >= 86400 else clock_time(seconds)[:-3] + " h"
