"""How long distances between sets of clips take, and how much memory measuring them takes."""

from __future__ import annotations

import hashlib
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.memory import in_fresh_process, peak_of_this_process
from benchmarks.results import Row
from benchmarks.timing import seconds

if TYPE_CHECKING:
    import torch
    from torch import Tensor

    from musicgen_train.evaluation.measuring import Evaluation
    from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
    from musicgen_train.evaluation.metrics.frechet import GaussianStatistics

WINDOWS, WIDTH = 19, 128  # VGGish's vectors of a clip of 10 s
SLOW_ROOT = 2048  # dimensions from which on scipy's root takes long: once is enough
Plan = dict[tuple[str, ...], tuple[int, ...]]  # metrics -> numbers of clips


def roots(dims: tuple[int, ...], rounds: int) -> Iterator[Row]:
    """The same Fréchet distance by us, by us with the reference factored, and by scipy."""
    for dim in dims:
        yield from root(dim, rounds)


def root(dim: int, rounds: int) -> Iterator[Row]:
    """Medians over rounds in which all take their turn."""
    from musicgen_train.evaluation.metrics.frechet import FrechetReference, frechet_distance

    a, b = (gaussian(dim, seed) for seed in range(2))
    reference = FrechetReference(a)
    calls: dict[str, Callable[[], float]] = {
        "scipy": lambda: by_sqrtm(a, b),
        "ours": lambda: frechet_distance(a, b),
        "ours, the reference factored before": lambda: reference.distance(b),
    }
    values: dict[str, float] = {}
    times: list[dict[str, float]] = []
    for turn in range(rounds):
        times.append({})
        for name, call in calls.items():
            if name == "scipy" and turn > 0 and dim >= SLOW_ROOT:
                continue
            began = time.perf_counter()
            values[name] = call()
            times[-1][name] = time.perf_counter() - began
    medians = {
        name: 1000 * statistics.median(t[name] for t in times if name in t) for name in calls
    }
    for name in list(calls)[1:]:
        pairs = [t["scipy"] / t[name] for t in times if "scipy" in t]
        gap = abs(values[name] - values["scipy"]) / values["scipy"]
        yield Row(
            "evaluation", f"Fréchet distance of {dim} dimensions, {name}", medians[name], "ms",
            "scipy's sqrtm", medians["scipy"], statistics.median(pairs), len(pairs),
            note=f"differs by {gap:.1g}",
        )  # fmt: skip


def gaussian(dim: int, seed: int) -> GaussianStatistics:
    """Statistics of vectors whose axes are mixed and of unequal variance, as embeddings have it."""
    import torch

    from musicgen_train.evaluation.metrics.frechet import GaussianStatistics

    rng = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=rng, dtype=torch.float64) / dim**0.5
    scale = torch.arange(1, dim + 1, dtype=torch.float64) ** -0.5
    vectors = torch.randn(2 * dim, dim, generator=rng, dtype=torch.float64) * scale @ mixing
    return GaussianStatistics.of(vectors + 0.1 * seed)


def by_sqrtm(a: GaussianStatistics, b: GaussianStatistics) -> float:
    """As most implementations have it: the root of the product of both covariances."""
    from scipy.linalg import sqrtm

    product: Any = sqrtm(a.covariance.numpy() @ b.covariance.numpy())
    shift = float((a.mean - b.mean).square().sum())
    traces = float(a.covariance.trace() + b.covariance.trace())
    return shift + traces - 2 * float(np.trace(product).real)


def parts(n_clips: int) -> Iterator[Row]:
    """Seconds of each part of the measuring step on two sets of so many clips."""
    from musicgen_train.evaluation.metrics.density_coverage import density_coverage
    from musicgen_train.evaluation.metrics.frechet import FrechetReference
    from musicgen_train.evaluation.metrics.frechet_bootstrap import frechet_bootstrap
    from musicgen_train.evaluation.metrics.frechet_halves import halves_distance
    from musicgen_train.evaluation.metrics.frechet_infinity import frechet_infinity
    from musicgen_train.evaluation.metrics.kernel_distance import KernelReference, kernel_distance
    from musicgen_train.evaluation.metrics.per_song_frechet import per_song_frechet

    theirs, ours = vectors(n_clips, 0), vectors(n_clips, 1)
    factored = FrechetReference(theirs.statistics())
    kernels: list[KernelReference] = []
    calls: dict[str, Callable[[], Any]] = {
        "FAD": lambda: factored.distance(ours.statistics()),
        "FAD, bootstrap over both sets": lambda: frechet_bootstrap(theirs, ours),
        "FAD∞": lambda: frechet_infinity(theirs, ours, sd=0.0),
        "FAD, halves of the reference": lambda: halves_distance(theirs),
        "FAD of each clip": lambda: per_song_frechet(factored, ours),
        "KAD, the reference alone": lambda: kernels.append(KernelReference.of(theirs)),
        "KAD": lambda: kernel_distance(kernels[0], ours),
        "density and coverage": lambda: density_coverage(theirs.clip_means(), ours.clip_means()),
    }
    for name, call in calls.items():
        yield Row("evaluation", f"{name}, of {n_clips} clips", seconds(call), "s", rounds=1)


def vectors(n_clips: int, seed: int) -> ClipVectors:
    """Windows of one clip resemble each other."""
    from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors

    rng = np.random.default_rng(seed)
    values = np.concatenate([clip(rng, seed) for _ in range(n_clips)])
    return ClipVectors(values, [WINDOWS] * n_clips)


def clip(rng: np.random.Generator, seed: int) -> np.ndarray:
    """[19, 128] float32, the second set a little further out."""
    common, own = rng.standard_normal((1, WIDTH)), rng.standard_normal((WINDOWS, WIDTH))
    return ((0.9 * common + 0.45 * own) * (1 + 0.1 * seed)).astype(np.float32)


def memory(plan: Plan) -> Iterator[Row]:
    """The whole measuring step on folders of so many clips, each in a process of its own."""
    for metrics, sizes in plan.items():
        before: tuple[int, float] | None = None  # clips, MiB
        for n_clips in sizes:
            found = in_fresh_process(measuring, n_clips, metrics)
            note = "its own pages, without mapped files"
            if before is not None:
                grown = 1024 * (found["own_mib"] - before[1]) / (n_clips - before[0])
                note += f"; {grown:.0f} KiB a further clip"
            before = n_clips, found["own_mib"]
            case = f"measuring {', '.join(metrics)} of {n_clips} clips that were heard before"
            yield Row(
                "evaluation", case, found["seconds"], "s", rounds=1, mib=found["own_mib"], note=note
            )


def measuring(n_clips: int, metrics: tuple[str, ...]) -> dict[str, float]:
    """Evaluate two folders that were heard before: nothing is decoded and no network runs."""
    from musicgen_train.evaluation.clips import clip_files
    from musicgen_train.evaluation.folder_evaluation import evaluate_folders

    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        evaluation = heard_before(folder, n_clips, metrics)
        ours = clip_files(folder / "generated")
        with peak_of_this_process() as peak:
            began = time.perf_counter()
            evaluate_folders(ours, folder / "reference", {}, evaluation)
            spent = time.perf_counter() - began
    return {"seconds": spent, **peak}


def heard_before(folder: Path, n_clips: int, metrics: tuple[str, ...]) -> Evaluation:
    """Folders of so many files, and a cache of what a listener like VGGish heard in them."""
    import torch

    from musicgen_train.evaluation.embedders.facts import FactsEmbedder
    from musicgen_train.evaluation.heard_cache import HeardCache
    from musicgen_train.evaluation.listeners import Listeners
    from musicgen_train.evaluation.measuring import Evaluation
    from musicgen_train.evaluation.protocol import Protocol
    from musicgen_train.evaluation.stages import Stages

    cache, listener, facts = HeardCache(folder / "heard"), Remembering(), FactsEmbedder()
    fine = torch.tensor([[10.0, 32000.0, 1.0, 0.1, 0.9, -16.0]], dtype=torch.float64)
    for seed, kind in enumerate(("reference", "generated")):
        (folder / kind).mkdir()
        rng = np.random.default_rng(seed)
        for number in range(n_clips):
            content = f"{kind} {number}".encode()
            (folder / kind / f"{number:05d}.flac").write_bytes(content)
            digest = hashlib.sha256(content).hexdigest()
            cache.write(facts, digest, {"facts": fine})
            cache.write(listener, digest, {"vectors": torch.from_numpy(clip(rng, seed))})
    protocol = Protocol("benchmark", metrics, ("vggish",), "passt")
    listeners = Listeners(protocol, metrics, embedders=[listener])
    (folder / "out").mkdir()
    return Evaluation(folder / "out", listeners, cache, {}, Stages(shown=False))


class Remembering:
    """An embedder that has heard everything before, so it is never asked."""

    name = "vggish"
    sample_rate = 16_000

    def prepare(self, wav: Tensor, sample_rate: int) -> Tensor:
        raise AssertionError("a clip is not in the cache")

    def hear(self, prepared: torch.Tensor) -> dict[str, torch.Tensor]:
        raise AssertionError("a clip is not in the cache")

    def identity(self) -> str:
        """Of nobody else."""
        return "benchmark".ljust(16, "0")

    def protocol(self) -> dict[str, object]:
        """Nothing that anybody could repeat."""
        return {"embedder": "benchmark"}
