"""Does a long piece stay what it began as: what was asked for, its sound, its level."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from itertools import combinations, product
from pathlib import Path
from statistics import fmean
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor

from musicgen_train.data.audio import read_audio
from musicgen_train.evaluation.clip_table import place_in
from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
from musicgen_train.evaluation.embedders.judge_features import HOP_DURATION, WINDOW_DURATION
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.long_pieces import QUARTERS, LongForm
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.kl import clip_log_probabilities
from musicgen_train.evaluation.metrics.silence import BLOCK, SILENCE_RMS, block_levels
from musicgen_train.evaluation.metrics.text_consistency import text_consistency
from musicgen_train.evaluation.scoring.judged_text import HEADS, asked_labels
from musicgen_train.evaluation.scoring.means import mean_over_clips

SOFTEST = 1e-5  # RMS: silence is drawn at -100 dBFS
ORDINALS = ("first", "second", "third", "last")


class Part(NamedTuple):
    """Some seconds of a piece."""

    start: float  # seconds
    end: float
    vector: Tensor  # [D] mean of the judge's windows that lie within
    labels: dict[str, Tensor]  # head -> log-probabilities [L]
    level: float  # dBFS
    silence: float  # share of the time below -60 dBFS


def cut_in_parts(heard: HeardSet, name: str, judge: JudgeEmbedder, form: LongForm) -> list[Part]:
    """A piece in equal parts; a window of the judge that reaches into two is in neither."""
    arrays, length = heard.arrays(judge, name), form.duration / form.n_parts
    wav, rate = read_audio(heard.path(name))
    blocks, found = block_levels(wav, rate), []
    for place in range(form.n_parts):
        start, end = place * length, (place + 1) * length
        first = math.ceil(start / HOP_DURATION - 1e-6)
        last = math.floor((end - WINDOW_DURATION) / HOP_DURATION + 1e-6)
        within = {key: torch.from_numpy(arrays[key][first : last + 1]) for key in arrays}
        here = blocks[round(start / BLOCK) : round(end / BLOCK)]
        level = 20 * math.log10(max(float(here.square().mean().sqrt()), SOFTEST))
        silence = float((here < SILENCE_RMS).double().mean())
        logits = {head: within[f"logits.{head}"] for head in HEADS}
        labels = {head: clip_log_probabilities(values) for head, values in logits.items()}
        found.append(Part(start, end, within["vectors"].mean(0), labels, level, silence))
    return found


class LongFormScorer:
    """Measures pieces by their quarters and halves, beside short clips of real music."""

    def __init__(
        self, comparison: Comparison, heard: HeardSet, judge: JudgeEmbedder, form: LongForm
    ) -> None:
        self.comparison, self.heard, self.judge, self.form = comparison, heard, judge, form
        self.pieces = {name: cut_in_parts(heard, name, judge, form) for name in heard.names}
        self.asked = {
            name: asked_labels(judge.judge, comparison.prompt(name).wanted) for name in self.pieces
        }

    def measurements(self) -> list[Measurement]:
        """What is heard as asked, drift, silence and level."""
        rows = [self._control()] if any(self.asked.values()) else []
        return [*rows, self._drift(), self._silence(), self._level()]

    def table(self, output_dir: Path) -> list[dict[str, Any]]:
        """Every piece with its parts, as metrics.json has them."""
        return [
            {
                "key": name,
                "description": self.comparison.prompt(name).text,
                "audio": place_in(self.heard.path(name), output_dir),
                "parts": [self._told(name, part) for part in parts],
            }
            for name, parts in self.pieces.items()
        ]

    def _told(self, name: str, part: Part) -> dict[str, Any]:
        opening = [other for other in self._quarter(name, 0) if other is not part]
        apart = [_distance(part, other) for other in opening]
        names, asked = self.judge.judge.labels, self.asked[name]
        return {
            "start": part.start,
            "end": part.end,
            "heard": self._share(part, name) if asked else None,
            "labels": {h: names[h][int(said.argmax())] for h, said in part.labels.items()},
            "distance": fmean(apart) if apart else None,
            "level": part.level,
            "silence": part.silence,
        }

    def _control(self) -> Measurement:
        names = [name for name, asked in self.asked.items() if asked]
        quarters = [
            {name: fmean(self._share(part, name) for part in self._quarter(name, q))
             for name in names} for q in range(QUARTERS)
        ]  # fmt: skip
        shuffled = [
            self._share(part, text)
            for clip, text in self.comparison.shuffled(names)
            for part in self._quarter(clip, QUARTERS - 1)
        ]
        return self._row(
            "control",
            "Heard as asked in the last quarter",
            quarters[-1],
            "higher",
            unit="share",
            good_end=fmean(quarters[0].values()),
            good_end_is="the first quarter of the same pieces",
            bad_end=fmean(shuffled) if shuffled else None,
            bad_end_is="texts of other tracks" if shuffled else "",
            others=_by_quarter([fmean(found.values()) for found in quarters[:-1]]),
        )

    def _drift(self) -> Measurement:
        halves = {name: self._halves(name) for name in self.pieces}
        found = {name: _apart(first, second) for name, (first, second) in halves.items()}
        within = [_apart(half, half) for both in halves.values() for half in both]
        within = [distance for distance in within if math.isfinite(distance)]
        other = [_apart(a, b) for (_, a), (b, _) in combinations(halves.values(), 2)]
        real = real_distance(self.comparison, self.judge)
        others = {"within a half": fmean(within)} if within else {}
        good, what = (real, "clips of one real track") if math.isfinite(real) else (None, "")
        if good is None and within:
            good, what = others.pop("within a half"), "within a half"
        return self._row(
            "drift",
            "Distance of the second half to the first",
            found,
            "lower",
            good_end=good,
            good_end_is=what,
            bad_end=fmean(other) if other else None,
            bad_end_is="halves of different pieces" if other else "",
            others=others,
        )

    def _silence(self) -> Measurement:
        quarters = [
            fmean(part.silence for name in self.pieces for part in self._quarter(name, q))
            for q in range(QUARTERS)
        ]
        found = {n: fmean(part.silence for part in parts) for n, parts in self.pieces.items()}
        length = self.form.duration / self.form.n_parts
        told = []
        for name, parts in self.pieces.items():
            silent = next((part.start for part in parts if part.silence * length > 2), None)
            if silent is not None:
                told.append(f"{name} (from {silent:g} s)")
        return self._row(
            "silence",
            "Share of the time that is silent",
            found,
            "lower",
            unit="share",
            good_end=0.0,
            good_end_is="never",
            others=_by_quarter(quarters),
            settings={"failing": {"fall silent": told}},
        )

    def _level(self) -> Measurement:
        found = {
            name: fmean(part.level for part in self._quarter(name, QUARTERS - 1))
            - fmean(part.level for part in self._quarter(name, 0))
            for name in self.pieces
        }
        return self._row(
            "level",
            "Level of the last quarter beside the first",
            found,
            "neither",
            unit="dB",
            good_end=0.0,
            good_end_is="no change",
            others={"mean of the sizes": fmean(map(abs, found.values()))},
        )

    def _row(
        self,
        kind: str,
        title: str,
        found: Mapping[str, float],
        better: Literal["lower", "higher", "neither"],
        **fields: Any,
    ) -> Measurement:
        settings = {
            **self.judge.protocol(),
            "duration": self.form.duration,
            "model_window": self.form.window,
            "parts": self.form.n_parts,
            "distance": "Euclidean, of the means of the judge's vectors over parts",
            **fields.pop("settings", {}),
        }
        missing = self.heard.unreadable
        row = mean_over_clips(
            f"long_form.{kind}", title, found, better, self.comparison, missing,
            settings=settings, **fields,
        )  # fmt: skip
        row.per_clip = {}  # they are of pieces, which the table of clips does not hold
        return row

    def _quarter(self, name: str, quarter: int) -> list[Part]:
        size = self.form.n_parts // QUARTERS
        return self.pieces[name][quarter * size : (quarter + 1) * size]

    def _halves(self, name: str) -> tuple[list[Part], list[Part]]:
        middle = self.form.n_parts // 2
        return self.pieces[name][:middle], self.pieces[name][middle:]

    def _share(self, part: Part, text: str) -> float:
        """Of what a text asks for: how much is heard in a part."""
        asked = self.asked[text]
        return fmean(text_consistency(part.labels[h], asked[h]).heard for h in asked)


def real_distance(comparison: Comparison, judge: JudgeEmbedder) -> float:
    """Mean distance of two clips of one real track; NaN where no track has two."""
    tracks: dict[str, list[Tensor]] = {}
    for heard in {id(each): each for each in (comparison.pairs, comparison.reference)}.values():
        for name in heard.names:
            vectors = torch.from_numpy(heard.arrays(judge, name)["vectors"])
            tracks.setdefault(heard.track(name), []).append(vectors.mean(0))
    found = [
        fmean(float((a - b).norm()) for a, b in combinations(clips, 2))
        for clips in tracks.values()
        if len(clips) > 1
    ]
    return fmean(found) if found else math.nan


def _apart(first: Sequence[Part], second: Sequence[Part]) -> float:
    """Mean distance of the parts of two stretches; a part is not compared with itself."""
    found = [_distance(a, b) for a, b in product(first, second) if a is not b]
    return fmean(found) if found else math.nan


def _distance(one: Part, other: Part) -> float:
    return float((one.vector - other.vector).norm())


def _by_quarter(values: Sequence[float]) -> dict[str, float]:
    return {f"{ORDINALS[q]} quarter": value for q, value in enumerate(values)}
