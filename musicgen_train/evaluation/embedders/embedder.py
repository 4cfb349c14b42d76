"""What every model that hears clips for the metrics has in common."""

from __future__ import annotations

from typing import Protocol

from torch import Tensor


class Embedder(Protocol):
    """Hears one clip at a time, so that what it hears depends on no other clip.

    `prepare` is the part for the CPU (channels, rate, level) and runs in threads beside `hear`,
    which does the rest on the embedder's device, the spectrogram included.
    """

    name: str  # "vggish": part of the names of the metrics that it serves
    sample_rate: int  # of what `prepare` gives

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        """A clip [C, N] at any rate as the samples that `hear` takes, [N'], on the CPU."""
        ...

    def hear(self, prepared: Tensor) -> dict[str, Tensor]:
        """Named arrays on the CPU, float32, windows first.

        "vectors" [W, D] for distances between sets; "logits" [W, L] for divergences between
        labels. W may be 0 only where the protocol asks for it (a clip too short).
        """
        ...

    def identity(self) -> str:
        """Hex digits that change with anything that changes what is heard: weights, front end."""
        ...

    def protocol(self) -> dict[str, object]:
        """What a record must say to repeat it: weights, their SHA-256, rate, windows, level."""
        ...
