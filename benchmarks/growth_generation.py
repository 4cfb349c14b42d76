"""Generation against the length of the music and the batch."""

from benchmarks.growth_fit import Curve, time_and_memory
from benchmarks.growth_point import measured
from benchmarks.lm_models import N_Q, TEXT_LENGTH, Shape, our_model
from benchmarks.memory import in_fresh_process
from benchmarks.timing import device_name, one_thread

CPU = {"dim": 256, "layers": 4, "batch": 4, "frames": 100}
GPU = {"dim": 1024, "layers": 24, "batch": 4, "frames": 250}
SIZES: dict[bool, dict[str, tuple[int, ...]]] = {
    True: {"frames": (100, 200, 400, 800), "batch": (1, 4, 16, 32)},
    False: {"frames": (125, 250, 500, 1000, 2000, 4000), "batch": (1, 2, 4, 8, 16, 32, 64)},
}
# A step looks at all that was made before it, once: its cost may grow with the length, but no
# faster, and mostly it is that of the weights. The cache holds a column a frame.
MUST: dict[str, dict[str, tuple[float, float]]] = {
    "frames": {"seconds": (0, 1), "MiB": (0, 1)},
    "batch": {"seconds": (0, 1), "MiB": (0, 1)},
}


def generation_point(sizes: dict[str, int], rounds: int) -> dict[str, float]:
    """Seconds a step, on average over a generation with guidance, and its memory."""
    import torch

    one_thread()
    device, dim, batch = device_name(), sizes["dim"], sizes["batch"]
    lm = our_model(Shape(dim, sizes["layers"], dim // 64), device, text_dim=dim).eval()
    with torch.device(device):
        text = torch.randn(batch, TEXT_LENGTH, dim), torch.ones(batch, TEXT_LENGTH)

    def generate(n_frames: int) -> None:
        lm.generate(n_frames, text, cfg_coef=3.0, seeds=range(batch))

    n_frames = sizes["frames"]
    found = measured(lambda: generate(n_frames), rounds, device, warm=lambda: generate(8))
    return found | {"seconds": found["seconds"] / (n_frames + N_Q - 1)}


def curves(quick: bool, rounds: int) -> list[Curve]:
    """Time of a step and memory of a generation against each size."""
    found = []
    base = GPU if device_name() == "cuda" else CPU
    for x, sizes in SIZES[quick].items():
        title = f"one step of generation against {x}"
        points = [(n, in_fresh_process(generation_point, base | {x: n}, rounds)) for n in sizes]
        found += time_and_memory("generation", title, x, points, MUST[x])
    return found
