"""A training step against the length, the batch and the number of codebooks."""

from benchmarks.growth_fit import Curve, time_and_memory
from benchmarks.growth_point import measured
from benchmarks.lm_models import Shape
from benchmarks.memory import in_fresh_process
from benchmarks.timing import device_name, one_thread, training_dtype
from benchmarks.train_models import TECHNIQUES, our_step, random_batch

CPU = {"dim": 256, "layers": 4, "batch": 1, "frames": 250, "codebooks": 4}
GPU = {"dim": 1024, "layers": 24, "batch": 4, "frames": 750, "codebooks": 4}
# By device and by whether it is for a look: the sizes of each curve.
SIZES: dict[tuple[str, bool], dict[str, tuple[int, ...]]] = {
    ("cpu", True): {
        "frames": (250, 500, 1000, 2000), "batch": (1, 2, 4, 8), "codebooks": (2, 4, 8, 16),
    },
    ("cpu", False): {
        "frames": (250, 500, 1000, 2000, 4000, 8000), "batch": (1, 2, 4, 8, 16, 32),
        "codebooks": (1, 2, 4, 8, 16, 32),
    },
    ("cuda", True): {
        "frames": (375, 750, 1500, 3000), "batch": (2, 4, 8, 16), "codebooks": (4, 8, 16, 32),
    },
    ("cuda", False): {
        "frames": (375, 750, 1500, 3000, 6000, 12000), "batch": (2, 4, 8, 16, 32),
        "codebooks": (2, 4, 8, 16, 32, 64),
    },
}  # fmt: skip
# Attention looks at every pair of frames, in time; in memory it must not keep the pairs. Codebooks
# only widen embedding and heads: the layers between them do not grow.
MUST: dict[str, dict[str, tuple[float, float]]] = {
    "frames": {"seconds": (1, 2), "MiB": (0, 1)},
    "batch": {"seconds": (1, 1), "MiB": (0, 1)},
    "codebooks": {"seconds": (0, 1), "MiB": (0, 1)},
}


def step_point(sizes: dict[str, int], rounds: int) -> dict[str, float]:
    """A step as train.py takes it, of random codes of these sizes."""
    one_thread()
    device, dim = device_name(), sizes["dim"]
    shape = Shape(dim, sizes["layers"], dim // 64)
    batch = random_batch(shape, sizes["batch"], sizes["frames"], device, sizes["codebooks"])
    step = our_step(shape, batch, TECHNIQUES["as train.py does"], training_dtype())
    return measured(step, rounds, device)


def curves(quick: bool, rounds: int) -> list[Curve]:
    """Time and memory of a step against each size, the others as they are."""
    device, found = device_name(), []
    base = GPU if device == "cuda" else CPU
    for x, sizes in SIZES[device, quick].items():
        points = [(n, in_fresh_process(step_point, base | {x: n}, rounds)) for n in sizes]
        found += time_and_memory("training", f"training step against {x}", x, points, MUST[x])
    return found
