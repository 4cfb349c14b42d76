"""Learning-rate schedules: pure functions of the optimizer step, so that no run can drift."""

import math
from collections.abc import Callable

from torch.optim import Optimizer
from torch.optim.lr_scheduler import LambdaLR

from musicgen_train.errors import UserError

_DECAYS: dict[str, Callable[[float], float]] = {
    "linear": lambda progress: 1 - progress,
    "sqrt": lambda progress: 1 - math.sqrt(progress),
}


def warmup_cosine(
    optimizer: Optimizer, *, warmup_steps: int, max_steps: int, min_ratio: float = 0.0
) -> LambdaLR:
    """Linear warm-up to the optimizer's rate, then a half cosine down to min_ratio of it."""
    _check(warmup_steps, max_steps, min_ratio)

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _warmup(step, warmup_steps)
        progress = min(1.0, (step - warmup_steps) / max(1, max_steps - warmup_steps))
        return min_ratio + (1 - min_ratio) * 0.5 * (1 + math.cos(math.pi * progress))

    return LambdaLR(optimizer, factor)


def warmup_stable_decay(
    optimizer: Optimizer,
    *,
    warmup_steps: int,
    max_steps: int,
    decay_steps: int,
    decay: str = "sqrt",
    min_ratio: float = 0.0,
) -> LambdaLR:
    """Linear warm-up, the optimizer's rate, and over the last decay_steps down to min_ratio of it.

    The steps before the decay do not depend on max_steps, so a run goes on for longer from any
    checkpoint of theirs. decay: "linear", or "sqrt" for 1 - sqrt(progress) (Hägele et al. 2024).
    """
    _check(warmup_steps, max_steps, min_ratio)
    if decay not in _DECAYS:
        raise UserError(f"schedule.decay is {decay!r}: choose one of {', '.join(sorted(_DECAYS))}")
    if not 1 <= decay_steps <= max_steps - warmup_steps:
        raise UserError(
            f"schedule.decay_steps is {decay_steps}, but max_steps={max_steps} less "
            f"schedule.warmup_steps={warmup_steps} leaves 1 to {max_steps - warmup_steps}"
        )

    def factor(step: int) -> float:
        if step < warmup_steps:
            return _warmup(step, warmup_steps)
        progress = (step - (max_steps - decay_steps)) / decay_steps
        return min_ratio + (1 - min_ratio) * _DECAYS[decay](min(1.0, max(0.0, progress)))

    return LambdaLR(optimizer, factor)


def warmup_constant(optimizer: Optimizer, *, warmup_steps: int = 0) -> LambdaLR:
    """Linear warm-up to the optimizer's rate, and no end."""
    _check(warmup_steps, math.inf, 0.0)

    def factor(step: int) -> float:
        return _warmup(step, warmup_steps) if step < warmup_steps else 1.0

    return LambdaLR(optimizer, factor)


def _warmup(step: int, warmup_steps: int) -> float:
    """Above 0 at the first step, and 1 at step warmup_steps."""
    return (step + 1) / (warmup_steps + 1)


def _check(warmup_steps: int, max_steps: float, min_ratio: float) -> None:
    """Refuse what no run can follow."""
    if warmup_steps < 0:
        raise UserError(f"schedule.warmup_steps is {warmup_steps}: give 0 or more")
    if max_steps < 0:
        raise UserError(f"max_steps={max_steps}: a schedule that ends needs the number of steps")
    if 0 < warmup_steps >= max_steps:
        raise UserError(
            f"schedule.warmup_steps is {warmup_steps}, but the run ends at max_steps={max_steps}: "
            "warm up for less, or train longer"
        )
    if not 0 <= min_ratio <= 1:
        raise UserError(f"schedule.min_ratio is {min_ratio}: give a number from 0 to 1")
