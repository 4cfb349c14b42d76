"""A training step against the length, the batch and the number of codebooks."""

from typing import Any

from benchmarks.growth_fit import Curve
from benchmarks.growth_point import device, measured, one_thread
from benchmarks.memory import in_fresh_process

CARD, TEXT_LENGTH = 2048, 12
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


def step_point(shape: dict[str, int], rounds: int) -> dict[str, float]:
    """Forward, backward and AdamW of a batch of random codes of this shape."""
    import torch

    from musicgen_train.lm.model import LanguageModel

    one_thread()
    on, dim, n_q = device(), shape["dim"], shape["codebooks"]
    torch.manual_seed(0)
    with torch.device(on):
        lm = LanguageModel(
            n_q=n_q, card=CARD, dim=dim, num_heads=dim // 64, num_layers=shape["layers"],
            text_dim=dim,
        )  # fmt: skip
        codes = torch.randint(CARD, (shape["batch"], n_q, shape["frames"]))
        text = torch.randn(shape["batch"], TEXT_LENGTH, dim), torch.ones(1, TEXT_LENGTH)
        lengths = torch.full((shape["batch"],), shape["frames"])
    scales = 1 / (n_q * lm.n_predicted(lengths, shape["frames"]))
    condition = text[0], text[1].expand(shape["batch"], -1)
    optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-4, fused=True)

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast("cuda", torch.bfloat16, enabled=on == "cuda"):
            loss = lm.loss(codes, lengths, scales, text=condition)[0]
        loss.backward()
        optimizer.step()

    return measured(step, rounds, on)


def curves(quick: bool, rounds: int) -> list[Curve]:
    """Time and memory of a step against each size, the others as they are."""
    on = device()
    found = []
    for x, sizes in SIZES[on, quick].items():
        base = {**(GPU if on == "cuda" else CPU), x: 0}
        points = [(n, in_fresh_process(step_point, base | {x: n}, rounds)) for n in sizes]
        found += both("training", f"training step against {x}", x, points, MUST[x])
    return found


def both(
    group: str,
    title: str,
    x: str,
    points: list[tuple[int, dict[str, Any]]],
    must: dict[str, tuple[float, float]],
) -> list[Curve]:
    """The curves of time and of memory of the same points."""
    words = {"seconds": ("time", "s"), "MiB": ("memory added", "MiB")}
    return [
        Curve(group, title, x, word, unit, must[key], [(float(n), p[key]) for n, p in points])
        for key, (word, unit) in words.items()
    ]
