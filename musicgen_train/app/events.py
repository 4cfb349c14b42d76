"""What happens to a generation, as whoever follows it is told."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from musicgen_train.app.takes import Take

if TYPE_CHECKING:
    from torch import Tensor


@dataclass(frozen=True)
class Waiting:
    """Other jobs come first."""

    position: int  # how many


@dataclass(frozen=True)
class Loading:
    """The model is got ready."""

    note: str


@dataclass(frozen=True)
class Progress:
    """The music is being made."""

    share: float  # in [0, 1]
    seconds_left: float | None  # None until that can be told
    note: str


@dataclass(frozen=True, eq=False)
class Chunk:
    """The next piece [C, n] of the first variant, at the model's own level, and its number."""

    wav: "Tensor"
    sample_rate: int
    index: int


@dataclass(frozen=True)
class Done:
    """All variants are in the store."""

    takes: list[Take]


@dataclass(frozen=True)
class Failed:
    """It came to nothing, for the reason in this one line."""

    message: str


@dataclass(frozen=True)
class Stopped:
    """It was cancelled."""


State = Waiting | Loading | Progress | Done | Failed | Stopped
Event = State | Chunk
ENDS = (Done, Failed, Stopped)
