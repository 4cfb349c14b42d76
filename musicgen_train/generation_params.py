"""How music is sampled: the numbers that `MusicGen.set_generation_params` takes, checked."""

import math
import operator
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from musicgen_train.arguments import listed, number, shown
from musicgen_train.errors import UserError

LONGEST = 600.0  # seconds; more is surely a slip (and hours of waiting)
STRONGEST = 100.0  # guidance; logits times more than that only lose their digits


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
        remedy = "give a whole number, 0 for all codes"
        number("top_k", self.top_k, lambda k: k >= 0, remedy, whole=True)
        remedy = "give a share in [0, 1], 0 to use top_k"
        number("top_p", self.top_p, lambda p: 0 <= p <= 1, remedy)
        remedy = "give 0 or more, 1 is the model's own"
        number("temperature", self.temperature, lambda t: 0 <= t < math.inf, remedy)
        remedy = f"give a number within ±{STRONGEST:g}, 1 for no guidance"
        number("cfg_coef", self.cfg_coef, lambda c: abs(c) <= STRONGEST, remedy)

    def stride(self, window: float, frame_rate: float) -> int:
        """Frames by which a window of `window` seconds slides."""
        seconds = 0.6 * window if self.extend_stride is None else self.extend_stride
        remedy = (
            f"give a frame ({1 / frame_rate:g} s) or more, and less than the model's window of "
            f"{window:g} s"
        )
        seconds = number(
            "extend_stride", seconds, lambda s: 1 / frame_rate <= s < window, remedy, unit=" s"
        )
        return round(seconds * frame_rate)

    def sampling(self) -> dict[str, Any]:
        """The keywords of `LanguageModel.steps`."""
        return {
            "greedy": not self.use_sampling,
            "top_k": int(self.top_k),
            "top_p": float(self.top_p),
            "temperature": float(self.temperature),
            "cfg_coef": float(self.cfg_coef),
            "two_pass": self.two_step_cfg,
        }


def check_duration(duration: float) -> float:
    """The seconds; refused if nobody means them."""
    remedy = f"give more than 0 and at most {LONGEST:g} s"
    return number("duration", duration, lambda s: 0 < s <= LONGEST, remedy, unit=" s")


def frames_in(duration: float, frame_rate: float) -> int:
    """Codec frames of a piece of `duration` seconds, at least one."""
    duration = check_duration(duration)
    n_frames = round(duration * frame_rate)
    if n_frames < 1:
        raise UserError(f"duration {duration:g} s is less than a frame: give {1 / frame_rate:g} s")
    return n_frames


def one_each(name: str, values: Iterable[Any], n_samples: int) -> list[Any]:
    """As many values as samples, as a list."""
    values = listed(name, values, "give a list with one for each sample")
    if len(values) != n_samples:
        raise UserError(f"{len(values)} {name} for {n_samples} samples: give one each")
    return values


def check_seeds(seeds: list[Any]) -> list[int]:
    """Seeds as plain ints."""
    try:
        return [operator.index(seed) for seed in seeds]
    except TypeError:
        raise UserError(f"seeds {shown(seeds)}: give whole numbers") from None
