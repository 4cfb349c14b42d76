"""What compares sets of embeddings, against the number of clips."""

from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.evaluation_distances import WIDTH, WINDOWS, vectors
from benchmarks.growth_fit import Curve, time_and_memory
from benchmarks.growth_point import measured
from benchmarks.memory import in_fresh_process
from benchmarks.timing import one_thread

if TYPE_CHECKING:
    from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors

Exponents = dict[str, tuple[float, float]]
SIZES = {True: (2000, 4000, 8000, 16_000), False: (2000, 8000, 32_000, 128_000, 512_000)}  # clips
MUST: Exponents = {"seconds": (1, 1), "MiB": (0, 0)}
# Every window, or clip, of one set is compared with every one of the other.
PAIRS = {True: (125, 250, 500, 1000), False: (250, 500, 1000, 2000, 4000)}  # clips of each set
MEANS = {True: (1000, 2000, 4000, 8000), False: (2000, 4000, 8000, 16_000, 32_000)}
MUST_PAIRS: Exponents = {"seconds": (1, 2), "MiB": (0, 1)}


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
    many = ClipVectors(rows, np.full(n_clips, WINDOWS))
    few: Any = EndlessRows(WINDOWS)
    return measured(many.statistics, 1, warm=ClipVectors(few, [WINDOWS]).statistics)


def kernel_point(n_clips: int) -> dict[str, float]:
    """The kernel distance of two sets of so many clips, their bandwidth included."""
    from musicgen_train.evaluation.metrics.kernel_distance import KernelReference, kernel_distance

    one_thread()
    sets, few = pair_of_sets(n_clips), pair_of_sets(20)
    return measured(
        lambda: kernel_distance(KernelReference.of(sets[0]), sets[1]), 1,
        warm=lambda: kernel_distance(KernelReference.of(few[0]), few[1]),
    )  # fmt: skip


def coverage_point(n_clips: int) -> dict[str, float]:
    """Density and coverage of two sets of so many clips, one vector each."""
    from musicgen_train.evaluation.metrics.density_coverage import density_coverage

    one_thread()
    sets, few = pair_of_means(n_clips), pair_of_means(100)
    return measured(lambda: density_coverage(*sets), 1, warm=lambda: density_coverage(*few))


def pair_of_sets(n_clips: int) -> "tuple[ClipVectors, ClipVectors]":
    """As VGGish hears two sets of clips."""
    return vectors(n_clips, 0), vectors(n_clips, 1)


def pair_of_means(n_clips: int) -> "tuple[ClipVectors, ClipVectors]":
    """Of vectors that are each a clip's."""
    from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors

    rows = np.random.default_rng(0).standard_normal((2, n_clips, WIDTH))
    return ClipVectors(rows[0], [1] * n_clips), ClipVectors(rows[1], [1] * n_clips)


def curves(quick: bool) -> list[Curve]:
    """Time and memory of the statistics of a Fréchet distance, and of what compares pairs."""
    found = []
    for title, point, sizes, must in (
        ("statistics for a Fréchet distance", statistics_point, SIZES, MUST),
        ("kernel distance", kernel_point, PAIRS, MUST_PAIRS),
        ("density and coverage", coverage_point, MEANS, MUST_PAIRS),
    ):
        points = [(n, in_fresh_process(point, n)) for n in sizes[quick]]
        title = f"{title} against the clips"
        found += time_and_memory("evaluation", title, "clips", points, must)
    return found
