"""How music is sampled: the numbers that `MusicGen.set_generation_params` takes, checked."""

import math
import operator
from collections.abc import Sequence
from dataclasses import dataclass
from numbers import Integral
from typing import Any

from musicgen_train.errors import UserError

LONGEST = 600.0  # seconds; more is surely a slip (and hours of waiting)


@dataclass(frozen=True, kw_only=True)
class GenerationParams:
    """The parameters of a generation; values that cannot work are refused at once.

    duration and extend_stride are seconds; None is the model's own.
    """

    use_sampling: bool = True
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0
    duration: float | None = None
    cfg_coef: float = 3.0
    two_step_cfg: bool = False
    extend_stride: float | None = None

    def __post_init__(self) -> None:
        if self.duration is not None:
            check_duration(self.duration)
        if not isinstance(self.top_k, Integral) or self.top_k < 0:
            raise UserError(f"top_k {self.top_k}: give a whole number, 0 for all codes")
        if not 0 <= self.top_p <= 1:
            raise UserError(f"top_p {self.top_p}: give a share in [0, 1], 0 to use top_k")
        if not 0 <= self.temperature < math.inf:
            raise UserError(f"temperature {self.temperature}: give 0 or more, 1 is the model's own")
        if not math.isfinite(self.cfg_coef):
            raise UserError(f"cfg_coef {self.cfg_coef}: give a number, 1 for no guidance")

    def stride(self, window: float, frame_rate: float) -> int:
        """Frames by which a window of `window` seconds slides."""
        seconds = 0.6 * window if self.extend_stride is None else self.extend_stride
        if not 1 / frame_rate <= seconds < window:
            raise UserError(
                f"extend_stride {seconds:g} s: give a frame ({1 / frame_rate:g} s) or more, and "
                f"less than the model's window of {window:g} s"
            )
        return round(seconds * frame_rate)

    def sampling(self) -> dict[str, Any]:
        """The keywords of `LanguageModel.steps`."""
        return {
            "greedy": not self.use_sampling,
            "top_k": self.top_k,
            "top_p": self.top_p,
            "temperature": self.temperature,
            "cfg_coef": self.cfg_coef,
            "two_pass": self.two_step_cfg,
        }


def check_duration(duration: float) -> None:
    """Refuse seconds that nobody means."""
    if not 0 < duration <= LONGEST:
        raise UserError(f"duration {duration:g} s: give more than 0 and at most {LONGEST:g} s")


def frames_in(duration: float, frame_rate: float) -> int:
    """Codec frames of a piece of `duration` seconds, at least one."""
    check_duration(duration)
    n_frames = round(duration * frame_rate)
    if n_frames < 1:
        raise UserError(f"duration {duration:g} s is less than a frame: give {1 / frame_rate:g} s")
    return n_frames


def check_seeds(seeds: Sequence[int]) -> list[int]:
    """Seeds as plain ints."""
    try:
        return [operator.index(seed) for seed in seeds]
    except TypeError:
        raise UserError(f"seeds {list(seeds)}: give whole numbers") from None
