"""One point of a curve: the time of a call and the memory that it adds."""

from collections.abc import Callable
from typing import Any

from benchmarks.memory import added_mib
from benchmarks.timing import device_seconds


def measured(
    call: Callable[[], Any], rounds: int, device: str = "cpu", warm: Callable[[], Any] | None = None
) -> dict[str, float]:
    """Seconds of a call, the best of so many, and the MiB that one adds at its peak.

    Before them comes one call of `warm`, a smaller one where the call itself takes long.
    """
    (warm or call)()
    best = min(device_seconds(call, device) for _ in range(rounds))
    return {"seconds": best, "MiB": added_mib(call, device)}
