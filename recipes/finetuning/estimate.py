"""About how long each stage takes, said before anything long begins.

From one measurement, of a matrix product on the device, and constants: a training step costs six
operations for each weight and code frame, a step of generation two for each weight and sequence, or
the time in which the weights are read. The others are times real time of audio. They are guesses of
the right size, no promises; each stage then shows its own time left.
"""

import math
import time
from collections.abc import Mapping
from typing import NamedTuple

from recipes.finetuning.base import Base
from recipes.finetuning.plan import Plan
from recipes.finetuning.presets import Device

EFFICIENCY = 0.35  # of the product's speed that a training reaches
STEP_OVERHEAD = {"cpu": 3e-4, "cuda": 2e-4}  # seconds of a layer in a step of generation
BANDWIDTH = {"cpu": 8e9, "cuda": 400e9}  # bytes/s
# Times real time of one process.
SEPARATION = {"cpu": 1.0, "cuda": 30.0}
CUTTING = 60.0
CODEC_PER_PARAMETER = {"cpu": 4e7, "cuda": 4e10}  # real time x parameters
LISTENING = {"cpu": 15.0, "cuda": 60.0}


class Amounts(NamedTuple):
    """What there is to be done."""

    seconds: float  # of songs
    separator: str
    workers: int


def estimate(amounts: Amounts, base: Base, plan: Plan, device: Device) -> dict[str, float]:
    """Seconds of each stage, by its name."""
    kind = device.kind
    speed = product_speed(kind)
    n_frames = plan.segment_duration * base.codec.frame_rate
    samples = plan.steps * plan.batch_size * plan.accumulate
    training = 6 * base.n_parameters * n_frames * samples / (EFFICIENCY * speed)
    cut = amounts.seconds / CUTTING
    cut += amounts.seconds / SEPARATION[kind] if amounts.separator == "demucs" else 0
    coding = base.codec.n_parameters / CODEC_PER_PARAMETER[kind]
    clips = 4 * plan.clips
    made = clips * plan.segment_duration
    return {
        "prepare": cut / max(1, amounts.workers) + 5,
        "tokenize": amounts.seconds * coding + 2,
        "captions": 1.0,
        "prior": generation(base, plan, plan.prior_clips, device, speed),
        "train": training * (1.3 if plan.recompute else 1) + 10,
        "samples": generation(base, plan, clips, device, speed) + made * coding,
        "evaluate": (made + min(amounts.seconds, 3600)) / LISTENING[kind] + 3,
        "export": 5 + base.n_parameters / 1e8,
        "report": 5.0,
    }


def generation(base: Base, plan: Plan, n_clips: int, device: Device, speed: float) -> float:
    """Seconds that so many clips take, with guidance."""
    if not n_clips:
        return 0.0
    n_steps = plan.segment_duration * base.codec.frame_rate
    rows = 2 * min(n_clips, batch_of(base, device, plan.segment_duration))
    step = max(
        4 * base.n_parameters / BANDWIDTH[device.kind],
        2 * base.n_parameters * rows / (EFFICIENCY * speed),
        STEP_OVERHEAD[device.kind] * base.lm["num_layers"],
    )
    return step * n_steps * n_clips / (rows / 2)


def batch_of(base: Base, device: Device, seconds: float) -> int:
    """Clips that are generated together: many pay on a GPU and for small models, as far as the
    weights, and the keys and values of both halves of guidance, fill half the memory.
    """
    most = 16 if device.kind == "cuda" or base.n_parameters < 5e7 else 4
    n_frames = seconds * base.codec.frame_rate
    clip = 2 * 2 * 4 * base.lm["num_layers"] * base.lm["dim"] * n_frames
    room = math.inf if device.memory is None else device.memory / 2 - 4 * base.n_parameters
    return next((size for size in (16, 8, 4, 2) if size <= most and size * clip <= room), 1)


def product_speed(kind: str) -> float:
    """Operations a second of a matrix product, measured."""
    import torch

    size = 512 if kind == "cpu" else 4096
    dtype = torch.float32 if kind == "cpu" else torch.bfloat16
    a = torch.ones(size, size, device=kind, dtype=dtype)
    best = float("inf")
    for _ in range(4):  # the first one warms up
        began = time.perf_counter()
        (a @ a).sum().item()
        best = min(best, time.perf_counter() - began)
    return 2 * size**3 / best


def words(seconds: Mapping[str, float]) -> str:
    """The whole time and its larger parts, as one line."""
    parts = [
        f"{name} {_short(s)}" for name, s in seconds.items() if s > 0.05 * sum(seconds.values())
    ]
    return f"about {_short(sum(seconds.values()))} ({', '.join(parts)})"


def _short(seconds: float) -> str:
    if seconds < 100:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 6000 else f"{seconds / 3600:.1f} h"
