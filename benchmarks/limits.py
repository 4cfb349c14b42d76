"""What this machine can do at best, measured: matrix products and reading of memory.

A row's limit is what these would give if nothing else took time: the most frames, steps or clips a
second. They are measured in the run that measures the rows, so that both share the same machine,
clocks and neighbours.
"""

import time
from typing import NamedTuple


class Limits(NamedTuple):
    """The best of a few tries on this device."""

    float32: float  # floating-point operations a second of a large matrix product
    bfloat16: float
    read: float  # bytes a second that summing a large tensor reads

    def flops(self, dtype: str) -> float:
        """Operations a second in a type; what is no float32 is multiplied in the faster of both."""
        return self.float32 if dtype == "float32" else max(self.float32, self.bfloat16)

    def told(self) -> str:
        """One line for people."""
        return (
            f"matrix products: {self.float32 / 1e12:.3g} TFLOP/s in float32, "
            f"{self.bfloat16 / 1e12:.3g} in bfloat16; memory is read at {self.read / 1e9:.3g} GB/s"
        )


def measure_limits(*, small: bool = False) -> Limits:
    """About three seconds of work; small: a moment's, whose figures mean nothing."""
    import torch

    from benchmarks.timing import device_name

    device = device_name()
    size = 8192 if device == "cuda" else 2048
    return Limits(
        matrix_rate(128 if small else size, torch.float32, device),
        matrix_rate(128 if small else size, torch.bfloat16, device),
        read_rate(2**16 if small else 2**28, device),
    )


def matrix_rate(size: int, dtype, device: str, tries: int = 8) -> float:
    """Operations a second of the product of two square matrices, the best try."""
    import torch

    from benchmarks.timing import seconds
    from musicgen_train.lm.products import by_onednn

    a = torch.randn(size, size, device=device).to(dtype)
    b = torch.randn(size, size, device=device).to(dtype)

    def best() -> float:
        torch.mm(a, b)  # libraries plan on first use
        return min(_some(lambda: seconds(lambda: torch.mm(a, b)), tries))

    default = best()
    with by_onednn(a):  # the faster library is what the hardware gives
        return 2 * size**3 / min(default, best())


def read_rate(length: int, device: str, tries: int = 5) -> float:
    """Bytes a second that summing so many float32 numbers reads, the best try."""
    import torch

    from benchmarks.timing import seconds

    x = torch.ones(length, device=device)
    x.sum()
    return 4 * length / min(_some(lambda: seconds(x.sum), tries))


def _some(measure, tries: int, longest: float = 2.0):
    """Up to so many measurements, none begun after so many seconds; one at least."""
    began = time.perf_counter()
    for n in range(tries):
        if n == 0 or time.perf_counter() - began < longest:
            yield measure()
