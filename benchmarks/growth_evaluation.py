"""Statistics of embeddings against the number of clips."""

from typing import Any

import numpy as np

from benchmarks.evaluation_distances import WIDTH, WINDOWS
from benchmarks.growth_fit import Curve, time_and_memory
from benchmarks.growth_point import measured
from benchmarks.memory import in_fresh_process
from benchmarks.timing import one_thread

SIZES = {True: (2000, 4000, 8000, 16_000), False: (2000, 8000, 32_000, 128_000, 512_000)}  # clips
MUST: dict[str, tuple[float, float]] = {"seconds": (1, 1), "MiB": (0, 0)}


class EndlessRows:
    """Stands for an array [n, WIDTH] on disk: rows are there when they are asked for."""

    ndim = 2

    def __init__(self, n_rows: int) -> None:
        self.shape = (n_rows, WIDTH)
        self.row = np.random.default_rng(0).standard_normal((1, WIDTH), np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, rows: slice) -> np.ndarray:
        numbers = np.arange(rows.start, rows.stop, dtype=np.float32)[:, None]
        return self.row * (numbers % 97)


def statistics_point(n_clips: int) -> dict[str, float]:
    """Mean and covariance of clips as VGGish hears them, block by block."""
    from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors

    one_thread()
    rows: Any = EndlessRows(n_clips * WINDOWS)
    vectors = ClipVectors(rows, np.full(n_clips, WINDOWS))
    few: Any = EndlessRows(WINDOWS)
    return measured(vectors.statistics, 1, warm=ClipVectors(few, [WINDOWS]).statistics)


def curves(quick: bool) -> list[Curve]:
    """Time and memory of the statistics that a Fréchet distance is made of."""
    points = [(n, in_fresh_process(statistics_point, n)) for n in SIZES[quick]]
    title = "statistics for a Fréchet distance against the clips"
    return time_and_memory("evaluation", title, "clips", points, MUST)
