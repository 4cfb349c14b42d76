"""Optimizers for named parameters: which library, which parameters, and what they cost.

Each takes `[(name, parameter), ...]`, as torch's own do, and returns one optimizer, every group of
which has an `lr` for the schedule.
"""

import importlib
import logging
import math
import re
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.optim import Adam, AdamW, Optimizer

from musicgen_train.errors import UserError, reason_of

Named = Iterable[tuple[str, Tensor]]

# Matrices that lie one below the other in one parameter, by the end of its name.
_BLOCKS = {"qkv.weight": 3, "in_proj_weight": 3, ".kv.weight": 2}
_STAND_IN = 192  # rows and columns: 8-bit states come in blocks of 256, from 4096 values on


def muon(
    params: Named,
    *,
    lr: float,
    momentum: float = 0.95,
    betas: Sequence[float] = (0.9, 0.95),
    weight_decay: float = 0.1,
    eps: float = 1e-8,
) -> Optimizer:
    """Muon for the matrices of transformer layers, AdamW for all else, at AdamW's rate.

    Updates have the size of AdamW's (Liu et al. 2025), so one `lr` serves both. Queries, keys and
    values are orthogonalized one by one: in one matrix they would share what is meant for each.
    """
    matrices: dict[int, list[tuple[str, Tensor]]] = {}
    others: list[tuple[str, Tensor]] = []
    for item in params:
        if not isinstance(item, tuple):
            raise UserError("optim=muon is for a language model's layers: choose another optim")
        name, parameter = item
        if parameter.ndim == 2 and re.search(r"(^|\.)layers\.\d+\.", name):
            matrices.setdefault(_n_blocks(name), []).append(item)
        else:
            others.append(item)
    decay = {"lr": lr, "weight_decay": weight_decay}
    groups: list[dict[str, Any]] = [
        {"params": matrices[n], "use_muon": True, "n_blocks": n, "momentum": momentum, **decay}
        for n in sorted(matrices)
    ]
    if others:
        adamw = {"use_muon": False, "betas": tuple(betas), "eps": eps}
        groups.append({"params": others, **adamw, **decay})
    return _library("muon").Muon(groups, use_adjusted_lr=True)


def prodigy(params: Named, *, lr: float = 1.0, **options: Any) -> Optimizer:
    """Adam that finds its own rate; the schedule scales what it finds."""
    _check_scale("prodigy", lr)
    return _library("prodigy").Prodigy(params, lr=lr, **options)


def dadapt_adam(params: Named, *, lr: float = 1.0, **options: Any) -> Optimizer:
    """Adam with D-Adaptation, which MusicGen small was trained with."""
    _check_scale("dadapt_adam", lr)
    return _library("dadapt_adam").DAdaptAdam(params, lr=lr, **options)


def adamw_8bit(params: Named, *, lr: float, **options: Any) -> Optimizer:
    """AdamW whose averages take a byte each, for one GPU or several that each hold the model."""
    # It complains of kernels for inference that it could not download.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    library = _imported("bitsandbytes", "adamw_8bit", "pip install 'musicgen_train[bitsandbytes]'")
    params = list(params)
    devices = {(p[1] if isinstance(p, tuple) else p).device.type for p in params}
    if not devices <= {"cuda", "cpu", "xpu"}:
        raise UserError(f"optim=adamw_8bit does not run on {devices.pop()}: choose optim=adamw")
    return library.optim.AdamW8bit(params, lr=lr, **options)


def try_out(
    factory: Callable[[Named], Optimizer], schedule: Callable[[Optimizer], Any] | None
) -> Optimizer:
    """Refuse wrong settings and absent libraries before anything else is made; -> the trial."""
    try:
        optimizer = factory([("trial", torch.zeros(1))])
        if schedule is not None:
            schedule(optimizer)
    except UserError:
        raise
    except (ValueError, TypeError) as error:
        raise UserError(f"configuration: {reason_of(error)}") from None
    return optimizer


def check_shardable(optimizer: Optimizer) -> None:
    """Refuse an optimizer whose steps on shards of a matrix are not those on the whole (FSDP2).

    AdamW and Muon are checked against one process. D-Adaptation and Prodigy sum over a whole model
    and fail on shards of it; 8-bit AdamW has no operators for them.
    """
    if isinstance(optimizer, Adam | AdamW) or type(optimizer).__name__ == "Muon":
        return
    raise UserError(
        f"{type(optimizer).__name__} cannot train a sharded model: choose optim=adamw or "
        "optim=muon, or trainer=ddp"
    )


def check_scaling(optimizer: Optimizer, precision: str) -> None:
    """Refuse a fused step that unscales float16 gradients itself, after all that looks at them."""
    if getattr(optimizer, "_step_supports_amp_scaling", False) and precision == "16-mixed":
        raise UserError(
            "trainer.precision=16-mixed scales gradients, which a fused optimizer undoes too late: "
            "set optim.fused=false, or take bf16-mixed"
        )


def state_bytes(optimizer: Optimizer) -> int:
    """Memory of the optimizer's state on this device, in bytes; shared tables count once."""
    return sum(_bytes_by_parameter(optimizer).values())


def bytes_per_parameter(factory: Callable[[Named], Optimizer], named: Named | None = None) -> float:
    """Bytes of state for each trainable parameter, before any of it is made.

    A small stand-in for every kind of parameter takes a step, and what that leaves is scaled up.
    `named` defaults to MusicGen small's; only names, shapes and types matter.
    """
    counts: dict[str, int] = {}
    stand_ins: dict[str, tuple[str, Tensor]] = {}
    for name, parameter in named if named is not None else _musicgen_small():
        kind = f"{re.sub(r'[0-9]+', '#', name)} {tuple(parameter.shape)} {parameter.dtype}"
        counts[kind] = counts.get(kind, 0) + parameter.numel()
        if kind not in stand_ins:
            stand_ins[kind] = name, _stand_in(parameter)
    optimizer = factory(list(stand_ins.values()))
    optimizer.step()
    held = _bytes_by_parameter(optimizer)
    total = 0.0
    for kind, (_, small) in stand_ins.items():
        total += counts[kind] * held.get(small, 0) / small.numel()
    return total / max(1, sum(counts.values()))


def _bytes_by_parameter(optimizer: Optimizer) -> dict[Tensor, int]:
    """What the state of each parameter adds to that of those before it."""
    seen: set[int] = set()
    held: dict[Tensor, int] = {}
    for parameter, state in optimizer.state.items():
        new = {s.data_ptr(): s.nbytes() for s in map(_storage, _tensors(state))}
        held[parameter] = sum(size for place, size in new.items() if place not in seen)
        seen |= new.keys()
    return held


def _stand_in(parameter: Tensor) -> Tensor:
    """A parameter of the same kind on the CPU, with a gradient and some 40 000 values at most."""
    columns = [min(n, _STAND_IN) for n in parameter.shape[1:]]
    most = _STAND_IN**2 // max(1, math.prod(columns))
    rows = [min(n, most - most % 6) for n in parameter.shape[:1]]  # as fused matrices divide them
    small = torch.nn.Parameter(torch.ones(rows + columns, dtype=parameter.dtype))
    small.grad = torch.ones_like(small)
    return small


def _musicgen_small() -> list[tuple[str, Tensor]]:
    """Names and shapes of MusicGen small's parameters, without their memory."""
    from musicgen_train.lm.model import LanguageModel

    with torch.device("meta"):
        lm = LanguageModel(n_q=4, card=2048, dim=1024, num_heads=16, num_layers=24, text_dim=768)
    return [(f"lm.{name}", parameter) for name, parameter in lm.named_parameters()]


def _tensors(value: Any) -> list[Tensor]:
    if isinstance(value, Tensor):
        return [value]
    if isinstance(value, dict):
        return [t for item in value.values() for t in _tensors(item)]
    return []


def _storage(tensor: Tensor) -> torch.UntypedStorage:
    return (tensor.to_local() if isinstance(tensor, DTensor) else tensor).untyped_storage()


def _n_blocks(name: str) -> int:
    return next((n for end, n in _BLOCKS.items() if name.endswith(end)), 1)


def _check_scale(name: str, lr: float) -> None:
    """Refuse what is a rate and no scale, such as one that an experiment sets for AdamW."""
    if not 0.1 <= lr <= 10:
        raise UserError(f"optim.lr is {lr:g}, but {name} finds the rate itself: set optim.lr=1")


def _library(name: str) -> Any:
    remedy = "pip install 'pytorch_optimizer>=4.1,<4.2'"
    _imported("pytorch_optimizer", name, remedy)
    return importlib.import_module("musicgen_train.training.library_optimizers")


def _imported(module: str, name: str, remedy: str) -> Any:
    """The library, or one line on how to get it."""
    try:
        return importlib.import_module(module)
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"optim={name} needs {module} ({reason_of(error)}): {remedy}") from None
