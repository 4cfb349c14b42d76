"""How far a system's clips are, as a set, from real music: FAD, FAD∞, KAD, density, coverage."""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np

from musicgen_train.errors import UserError
from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.heard_set import HeardSet, Vectors
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.density_coverage import DensityCoverage, density_coverage
from musicgen_train.evaluation.metrics.frechet import FrechetReference, frechet_warnings
from musicgen_train.evaluation.metrics.frechet_bootstrap import (
    CLIPS_PER_DIMENSION,
    FrechetBootstrap,
    frechet_bootstrap,
)
from musicgen_train.evaluation.metrics.frechet_halves import halves_distance
from musicgen_train.evaluation.metrics.frechet_infinity import frechet_infinity
from musicgen_train.evaluation.metrics.kernel_distance import (
    KernelDistance,
    KernelReference,
    kernel_distance,
)
from musicgen_train.evaluation.metrics.per_song_frechet import per_song_frechet
from musicgen_train.evaluation.protocol import Protocol

REAL_TO_REAL = "real music to other real music"
UNTRAINED = "untrained model of the same shape"
NEIGHBOURS = 5  # k of density and coverage
SEED = 0  # of every draw


class DistanceScorer:
    """Measurements over one embedder's vectors; files of vectors lie in `folder` meanwhile."""

    def __init__(
        self, comparison: Comparison, embedder: Embedder, protocol: Protocol, folder: Path
    ) -> None:
        self.comparison, self.embedder, self.protocol = comparison, embedder, protocol
        self.folder = folder
        self._vectors: dict[str, Vectors] = {}
        self._device = getattr(embedder, "device", "cpu")  # pairs of vectors are many

    def measurements(self, on_progress: Callable[[float], None]) -> list[Measurement]:
        """FAD, KAD, density and coverage of every system, as far as they are asked for."""
        families = {
            "fad": self._frechet,
            "kad": self._kernel,
            "coverage": self._neighbours,
        }
        asked = [(name, make) for name, make in families.items() if name in self.protocol.metrics]
        rows, systems = list[Measurement](), self.comparison.systems
        for done, (_, make) in enumerate(asked):
            for place, system in enumerate(systems):
                rows += make(system)
                on_progress((done + (place + 1) / len(systems)) / len(asked))
        return rows

    def _heard(self, heard: HeardSet) -> Vectors:
        """Vectors of a set, written once."""
        if heard.title not in self._vectors:
            self._vectors[heard.title] = heard.vectors(self.embedder, self.folder)
        return self._vectors[heard.title]

    @cached_property
    def _reference(self) -> ClipVectors:
        return self._heard(self.comparison.reference).clips

    @cached_property
    def _reference_tracks(self) -> ClipVectors:
        return self._heard(self.comparison.reference).tracks

    @cached_property
    def _factored(self) -> FrechetReference:
        return FrechetReference(self._reference.statistics(), self.protocol.compat)

    @cached_property
    def _kernels(self) -> KernelReference:
        return KernelReference.of(self._reference_tracks, seed=SEED, device=self._device)

    def _row(
        self,
        kind: str,
        title: str,
        value: float,
        better: Literal["lower", "higher"],
        system: System,
        **fields: Any,
    ) -> Measurement:
        """A measurement with what all of one system have in common."""
        ours, reference = self._heard(system.heard), self._heard(self.comparison.reference)
        dropped = dict.fromkeys(ours.without, "shorter than one window") | system.heard.unreadable
        settings = {
            **self.embedder.protocol(),
            "reference": self.comparison.reference.title,
            "reference_clips": reference.clips.n_clips,
            "reference_vectors": reference.clips.n_vectors,
            "reference_dropped": len(reference.without) + len(self.comparison.reference.unreadable),
            "dropped": dropped,
            "draws_seed": SEED,
            **fields.pop("settings", {}),
        }
        return Measurement(
            ".".join(filter(None, (kind, self.embedder.name, system.name))),
            f"{title}, {system.title}" if system.name else title,
            value,
            better,
            n_clips=ours.clips.n_clips,
            n_vectors=ours.clips.n_vectors,
            settings=settings,
            **fields,
        )

    def _frechet(self, system: System) -> list[Measurement]:
        ours = self._heard(system.heard)
        name, clips = self.embedder.name, ours.clips
        settings = {"covariance": "ddof 1, over the windows of all clips", "root": "eigh, no eps"}
        settings["dtype"] = "float32 statistics" if self.protocol.compat else "float64"
        few = min(clips.n_vectors, self._reference.n_vectors) < 2
        if few:
            why = ("fewer than 2 vectors on one side: there is no covariance",)
            return [self._row("fad", f"FAD[{name}]", np.nan, "lower", system, warnings=why)]
        drawn = self._bootstrap(ours.tracks)
        sd = drawn.sd if drawn else np.nan
        endless = frechet_infinity(self._reference_tracks, ours.tracks, seed=SEED, sd=sd)
        unknown = np.isnan(endless.value)
        per_song = per_song_frechet(self._factored, clips)
        least = CLIPS_PER_DIMENSION * clips.dim
        row = self._row(
            "fad",
            f"FAD[{name}]",
            self._factored.distance(clips.statistics()),
            "lower",
            system,
            interval=(max(0.0, drawn.low), drawn.high) if drawn else None,
            interval_is=f"basic bootstrap over the tracks of both sets, {len(drawn.draws)} draws, "
            "cut at 0"
            if drawn
            else "",
            warnings=(
                *frechet_warnings(clips.n_clips, clips.n_vectors, clips.dim),
                *(f"reference: {said}" for said in self._reference_warnings),
                *(() if drawn else (f"no interval: it takes {least} tracks on both sides",)),
                *(f"no FAD∞: {reason}" for reason in endless.warnings if unknown),
            ),
            others={"debiased": drawn.debiased} if drawn else {},
            settings=settings,
            per_clip=dict(zip(ours.names, per_song.tolist(), strict=True)),
            **self._frechet_ends,
        )
        if unknown:
            return [row]
        more = self._row(
            "fad_inf",
            f"FAD∞[{name}]",
            endless.value,
            "lower",
            system,
            interval=(endless.low, endless.high) if drawn else None,
            interval_is="± 1.96 standard deviations of the distance over tracks" if drawn else "",
            warnings=endless.warnings,
            others={"R² of the line": endless.r_squared},
            settings={
                **settings,
                "extrapolated": "from parts of both sets that share no track, against 1/n",
                "dtype": "float64",
                "sizes": list(endless.sizes),
                "distances": list(endless.distances),
            },
        )
        return [row, more]

    @property
    def _reference_warnings(self) -> tuple[str, ...]:
        real = self._reference
        return frechet_warnings(real.n_clips, real.n_vectors, real.dim)

    def _bootstrap(self, tracks: ClipVectors) -> FrechetBootstrap | None:
        """None where its interval would seldom hold the truth."""
        n_tracks = min(tracks.n_clips, self._reference_tracks.n_clips)
        if n_tracks < CLIPS_PER_DIMENSION * tracks.dim:
            return None
        return frechet_bootstrap(self._reference_tracks, tracks, seed=SEED)

    @cached_property
    def _frechet_ends(self) -> dict[str, Any]:
        floor, ceiling = self.comparison.floor, self.comparison.ceiling
        ends: dict[str, Any] = {}
        if floor is not None:
            ends["good_end"] = self._distance(floor)
            ends["good_end_is"] = REAL_TO_REAL
        elif self._reference_tracks.n_clips >= 4:
            # Halves have half the clips, and the bias is about one over their number.
            halves = halves_distance(self._reference_tracks, seed=SEED)
            ends["good_end"] = halves.mean / 2
            ends["good_end_is"] = f"half the distance of halves of the reference ({halves.draws})"
        if ceiling is not None:
            ends |= {"bad_end": self._distance(ceiling), "bad_end_is": UNTRAINED}
        return ends

    def _distance(self, heard: HeardSet) -> float:
        statistics = self._heard(heard).clips.statistics()
        return self._factored.distance(statistics) if statistics.n > 1 else float("nan")

    def _kernel(self, system: System) -> list[Measurement]:
        title = f"KAD[{self.embedder.name}]"
        floor, ceiling = self.comparison.floor, self.comparison.ceiling
        try:
            found = self._kernel_distance(system.heard)
            ends = [end and self._kernel_distance(end).between_clips for end in (floor, ceiling)]
        except UserError as error:  # a reference whose vectors are all alike
            return [self._row("kad", title, np.nan, "lower", system, warnings=(str(error),))]
        row = self._row(
            "kad",
            title,
            found.between_clips,
            "lower",
            system,
            interval=(found.low, found.high),
            interval_is="± 1.96 standard deviations, jackknife over the tracks of both sets",
            warnings=found.warnings,
            others={"over all pairs of windows, as kadtk": found.value},
            settings={
                "kernel": "Gaussian, bandwidth the median distance within the reference",
                "bandwidth": found.bandwidth,
                "scale": 100,
                "pairs": "of different tracks",
            },
            good_end=0.0 if ends[0] is None else ends[0],
            good_end_is="the same distribution" if ends[0] is None else REAL_TO_REAL,
            bad_end=ends[1],
            bad_end_is="" if ends[1] is None else UNTRAINED,
        )
        return [row]

    def _kernel_distance(self, heard: HeardSet) -> KernelDistance:
        tracks = self._heard(heard).tracks
        return kernel_distance(self._kernels, tracks, device=self._device)

    def _neighbours(self, system: System) -> list[Measurement]:
        found = self._density(system.heard)
        if found is None:
            title, why = f"Coverage[{self.embedder.name}]", f"{NEIGHBOURS} clips or fewer"
            return [self._row("coverage", title, np.nan, "higher", system, warnings=(why,))]
        floor, ceiling = (
            end and self._density(end) for end in (self.comparison.floor, self.comparison.ceiling)
        )
        rows = []
        for kind, title, same in (
            ("density", "Density", 1.0),
            ("coverage", "Coverage", self._expected_coverage(system.heard)),
        ):
            rows.append(
                self._row(
                    kind,
                    f"{title}[{self.embedder.name}]",
                    getattr(found, kind),
                    "higher",
                    system,
                    unit="share" if kind == "coverage" else "",
                    warnings=found.warnings,
                    others={"precision": found.precision, "recall": found.recall}
                    if kind == "coverage"
                    else {},
                    good_end=getattr(floor, kind) if floor else same,
                    good_end_is=REAL_TO_REAL if floor else "the same distribution",
                    bad_end=getattr(ceiling, kind) if ceiling else 0.0,
                    bad_end_is=UNTRAINED if ceiling else "nothing in common",
                    settings={"neighbours": NEIGHBOURS, "vector": "mean of a clip's windows"},
                )
            )
        return rows

    def _expected_coverage(self, heard: HeardSet) -> float:
        """Of one distribution: how often one of a real clip's k nearest is a generated one."""
        n, m = self._reference.n_clips, self._heard(heard).clips.n_clips
        return 1 - math.prod((n - 1 - j) / (n + m - 1 - j) for j in range(NEIGHBOURS))

    def _density(self, heard: HeardSet) -> DensityCoverage | None:
        """None of a set with too few clips."""
        clips = self._heard(heard).clips
        if min(clips.n_clips, self._reference.n_clips) <= NEIGHBOURS:
            return None
        means = clips.clip_means()
        return density_coverage(self._reference_means, means, NEIGHBOURS, device=self._device)

    @cached_property
    def _reference_means(self) -> ClipVectors:
        return self._reference.clip_means()
