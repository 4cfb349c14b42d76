"""Generation against the length of the music and the batch."""

from benchmarks.growth_fit import Curve
from benchmarks.growth_point import device, measured, one_thread
from benchmarks.growth_training import CARD, TEXT_LENGTH, both
from benchmarks.memory import in_fresh_process

N_Q = 4
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


def generation_point(shape: dict[str, int], rounds: int) -> dict[str, float]:
    """Seconds a step, on average over a generation with guidance, and its memory."""
    import torch

    from musicgen_train.lm.model import LanguageModel

    one_thread()
    on, dim, batch = device(), shape["dim"], shape["batch"]
    torch.manual_seed(0)
    with torch.device(on):
        lm = LanguageModel(
            n_q=N_Q, card=CARD, dim=dim, num_heads=dim // 64, num_layers=shape["layers"],
            text_dim=dim,
        ).eval()  # fmt: skip
        text = torch.randn(batch, TEXT_LENGTH, dim), torch.ones(batch, TEXT_LENGTH)

    def generate(n_frames: int) -> None:
        lm.generate(n_frames, text, cfg_coef=3.0, seeds=range(batch))

    found = measured(lambda: generate(shape["frames"]), rounds, on, warm=lambda: generate(8))
    return found | {"seconds": found["seconds"] / (shape["frames"] + N_Q - 1)}


def curves(quick: bool, rounds: int) -> list[Curve]:
    """Time of a step and memory of a generation against each size."""
    found = []
    for x, sizes in SIZES[quick].items():
        base = GPU if device() == "cuda" else CPU
        points = [(n, in_fresh_process(generation_point, base | {x: n}, rounds)) for n in sizes]
        found += both("generation", f"one step of generation against {x}", x, points, MUST[x])
    return found
