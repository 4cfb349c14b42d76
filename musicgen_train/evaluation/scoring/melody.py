"""Does a clip follow the melody that was asked for, or else have that of the real clip?"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
import torch
from torch import Tensor

from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.embedders.melody import ChromaEmbedder
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.chroma_agreement import ChromaAgreement, chroma_agreement
from musicgen_train.evaluation.metrics.intervals import bootstrap_mean
from musicgen_train.evaluation.scoring.means import mean_over_clips, unpaired

TITLES = {"argmax": "Same dominant pitch class", "cosine": "Cosine of dense chroma"}
EVERY_FRAME, VOICED_FRAMES = -1.0, 1e-4  # levels below which a frame has no pitch
Pairs = Iterable[tuple[str, str]]


class MelodyScorer:
    """Agreement of chroma with the melody that was asked for, else with that of the real clip.

    compat: audiocraft's protocol, dominant pitch classes in all frames, silent ones too, of all
    clips together; else voiced frames, averaged over each clip, and dense chroma beside it.
    """

    def __init__(self, comparison: Comparison, listener: ChromaEmbedder, compat: bool) -> None:
        self.comparison, self.listener, self.compat = comparison, listener, compat
        self.kinds = ("argmax",) if compat else ("argmax", "cosine")
        self.asked = {n: p.chroma for n, p in comparison.prompts.items() if p.chroma is not None}

    def measurements(self) -> list[Measurement]:
        """One of each kind for the system that was given melodies, or for the only one there is."""
        systems = [s for s in self.comparison.systems if s.with_melody or not s.name]
        return [row for system in systems for row in self._measure(system)]

    def _measure(self, system: System) -> list[Measurement]:
        comparison = self.comparison
        sides = [system.heard] if self.asked else [system.heard, comparison.pairs]
        names, missing = comparison.common(*sides)
        missing += [name for name in names if self.asked and name not in self.asked]
        names = [name for name in names if not self.asked or name in self.asked]
        own = [(name, name) for name in names]
        found = self._agreements(own, system.heard)
        shuffled = self._agreements(comparison.shuffled(names), system.heard)
        references = {"real clip, whole mix": comparison.pairs} if self.asked else {}
        references |= {
            f"{other.title}, without a melody": other.heard
            for other in comparison.systems
            if system.with_melody and not other.with_melody
        }
        if comparison.ceiling is not None:
            references["untrained"] = comparison.ceiling
        beside = {
            title: self._agreements([pair for pair in own if pair[1] in heard], heard)
            for title, heard in references.items()
        }
        return [
            self._row(system, kind, names, found, shuffled, beside, missing) for kind in self.kinds
        ]

    def _row(
        self,
        system: System,
        kind: str,
        names: list[str],
        found: list[ChromaAgreement],
        shuffled: list[ChromaAgreement],
        beside: Mapping[str, list[ChromaAgreement]],
        missing: list[str],
    ) -> Measurement:
        others = {title: self._mean(kind, rows) for title, rows in beside.items()}
        good = others.pop("real clip, whole mix", None)
        row = mean_over_clips(
            f"chroma.{kind}",
            TITLES[kind],
            {name: getattr(a, kind) for name, a in zip(names, found, strict=True)},
            "higher",
            self.comparison,
            unpaired(missing, system.heard.title, self.comparison.pairs.title),
            unit="share" if kind == "argmax" else "",
            good_end=good,
            good_end_is="" if good is None else "the real clip, whole mix",
            bad_end=self._mean(kind, shuffled) if shuffled else None,
            bad_end_is="melodies of other tracks" if shuffled else "",
            others=others,
            settings={
                **self.listener.protocol(),
                "chance": 1 / 12,
                "frames": "all, of all clips together" if self.compat else "voiced, by clip",
                "voiced_share": _average([a.voiced for a in found]),
            },
        )
        row.value = self._mean(kind, found)
        if self.compat:  # every frame counts alike
            frames = [a.frames for a in found]
            values = np.repeat([getattr(a, kind) for a in found], frames)
            tracks = np.repeat([self.comparison.track(name) for name in names], frames)
            row.interval = bootstrap_mean(values, tracks.tolist())
        return row

    def _agreements(self, pairs: Pairs, heard: HeardSet) -> list[ChromaAgreement]:
        """Of the melody of the first name of each pair with the clip of the second."""
        silence = EVERY_FRAME if self.compat else VOICED_FRAMES
        return [
            chroma_agreement(self._melody(a), self._chroma(heard, b), silence) for a, b in pairs
        ]

    def _melody(self, name: str) -> Tensor:
        asked = self.asked.get(name)
        return self._chroma(self.comparison.pairs, name) if asked is None else asked

    def _chroma(self, heard: HeardSet, name: str) -> Tensor:
        return torch.from_numpy(heard.arrays(self.listener, name)["chroma"])

    def _mean(self, kind: str, rows: list[ChromaAgreement]) -> float:
        if not self.compat:
            return _average([getattr(row, kind) for row in rows if row.voiced])
        total = sum(row.frames for row in rows)
        return sum(getattr(row, kind) * row.frames for row in rows) / max(1, total)


def _average(values: list[float]) -> float:
    return sum(values) / len(values) if values else float("nan")
