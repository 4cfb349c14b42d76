"""Is what a text asks for heard in the clip: instrument, genre and tempo, by the judge."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Any

import torch
from torch import Tensor

from musicgen_train.evaluation.asked_tempo import RULE, WORDS, tempo_classes
from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.embedders.judge import Judge
from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.intervals import T_INTERVAL, Interval, t_ratio
from musicgen_train.evaluation.metrics.kl import clip_log_probabilities
from musicgen_train.evaluation.metrics.text_consistency import Consistency, text_consistency
from musicgen_train.evaluation.scoring.means import mean_over_clips

HEADS = ("instrument", "genre", "tempo")
REAL, SHUFFLED = "real music of these texts", "texts of other tracks"
Heard = dict[str, dict[str, Tensor]]  # clip -> head -> log-probabilities [L]
Pairs = Sequence[tuple[str, str]]  # (clip, whose text)


def asked_labels(judge: Judge, wanted: Mapping[str, str | None]) -> dict[str, list[int]]:
    """The labels of each head that fit what is wanted; nothing where the judge knows none."""
    found = {}
    for head in HEADS:
        label, labels = wanted.get(head), judge.labels.get(head, [])
        if label is not None and head == "tempo":
            found[head] = tempo_classes(label, judge.tempo_edges)
        elif label in labels:
            found[head] = [labels.index(label)]
    return found


def heard_labels(judge: JudgeEmbedder, heard: HeardSet) -> Heard:
    """What the judge hears in each clip of a set as a whole."""
    found: Heard = {}
    for name in heard.names:
        arrays = heard.arrays(judge, name)
        logits = {head: arrays.get(f"logits.{head}") for head in HEADS}
        found[name] = {
            head: clip_log_probabilities(torch.from_numpy(values))
            for head, values in logits.items()
            if values is not None
        }
    return found


class JudgedTextScorer:
    """Shares of what was asked for that is heard, beside real music and texts of other tracks."""

    def __init__(self, comparison: Comparison, judge: JudgeEmbedder) -> None:
        self.comparison, self.judge = comparison, judge
        self.real = heard_labels(judge, comparison.pairs)
        beside = (("through the codec", comparison.round_trip), ("untrained", comparison.ceiling))
        self.beside = {
            what: heard_labels(judge, heard) for what, heard in beside if heard is not None
        }
        systems = [s for s in comparison.systems if s.heard is not comparison.round_trip]
        self.systems = {system.name: heard_labels(judge, system.heard) for system in systems}
        names = {name: None for found in self.systems.values() for name in found}
        self.asked = {
            name: asked_labels(judge.judge, comparison.prompt(name).wanted) for name in names
        }

    def measurements(self) -> list[Measurement]:
        """For every system text control as a whole, and each thing that some text asks for."""
        rows = []
        for system in self.comparison.systems:
            if system.name not in self.systems or system.heard is self.comparison.round_trip:
                continue
            wanted = [self.comparison.prompt(name).wanted for name in self.systems[system.name]]
            heads = [head for head in HEADS if any(asked.get(head) for asked in wanted)]
            if len(heads) > 1:
                told = ", ".join(heads[:-1]) + f" and {heads[-1]}"
                title = f"Text control: {told} heard as asked"
                rows.append(self._measure(system, "control", title, heads))
                if any(name in self.real for name in rows[-1].per_clip):
                    rows.append(self._beside_real(rows[-1], heads))
            rows += [
                self._measure(system, head, f"{head.capitalize()} heard as asked", [head])
                for head in heads
            ]
        return rows

    def _measure(self, system: System, kind: str, title: str, heads: Sequence[str]) -> Measurement:
        ours = self.systems[system.name]
        known = [name for name in ours if any(head in self.asked[name] for head in heads)]
        own = [(name, name) for name in known]
        found = dict(zip(known, self._shares(ours, own, heads), strict=True))
        real = self._shares(self.real, [pair for pair in own if pair[0] in self.real], heads)
        shuffled = self._shares(ours, self.comparison.shuffled(known), heads)
        others = {"chance": self._chance(known, heads)}
        others["mean probability"] = self._probability(ours, known, heads)
        for what, heard in self.beside.items():
            others[what] = _mean(self._shares(heard, [p for p in own if p[0] in heard], heads))
        suffix, remark = (".with_melody", " (text and melody)") if system.with_melody else ("", "")
        why = f"asks for no {' or '.join(heads)} that the judge knows"
        return mean_over_clips(
            f"text.{kind}{suffix}",
            f"{title}{remark}",
            found,
            "higher",
            self.comparison,
            {name: why for name in ours if name not in known},
            unit="share",
            good_end=_mean(real) if real else None,
            good_end_is=REAL if real else "",
            bad_end=_mean(shuffled) if shuffled else None,
            bad_end_is=SHUFFLED if shuffled else "",
            others=others,
            settings=self._record(heads),
        )

    def _beside_real(self, control: Measurement, heads: Sequence[str]) -> Measurement:
        """What is heard as asked, in shares of what is heard so in real music of these texts."""
        names = [name for name in control.per_clip if name in self.real]
        real = self._shares(self.real, [(name, name) for name in names], heads)
        ours, tracks = [control.per_clip[n] for n in names], [*map(self.comparison.track, names)]
        ratio = sum(ours) / sum(real) if sum(real) else math.nan
        interval = t_ratio(ours, real, tracks)
        interval = interval and Interval(max(0.0, interval.low), interval.high)
        bad = control.bad_end is not None and bool(control.good_end)
        return Measurement(
            control.name.replace("text.control", "text.control_of_real"),
            control.title.replace("heard as asked", "beside what real music reaches"),
            ratio,
            "higher",
            n_clips=len(names),
            unit="share",
            good_end=1.0,
            good_end_is=REAL,
            bad_end=control.bad_end / control.good_end if bad else None,  # type: ignore[operator]
            bad_end_is=SHUFFLED if bad else "",
            interval=interval,
            interval_is=f"{T_INTERVAL}, of the ratio" if interval else "",
            warnings=control.warnings,
            settings=control.settings,
        )

    def _shares(self, heard: Heard, pairs: Pairs, heads: Sequence[str]) -> list[float]:
        """Of each pair: how much of what the second asks for is heard in the first."""
        return [
            fmean(found.heard for found in self._heard(heard, clip, text, heads))
            for clip, text in pairs
        ]

    def _heard(self, heard: Heard, clip: str, text: str, heads: Sequence[str]) -> list[Consistency]:
        asked = self.asked[text]
        return [text_consistency(heard[clip][h], asked[h]) for h in heads if h in asked]

    def _probability(self, heard: Heard, names: Sequence[str], heads: Sequence[str]) -> float:
        found = (self._heard(heard, name, name, heads) for name in names)
        return _mean([fmean(one.probability for one in row) for row in found])

    def _chance(self, names: Sequence[str], heads: Sequence[str]) -> float:
        """Of a listener who draws each label at random."""
        labels = self.judge.judge.labels
        drawn = [
            fmean(len(found) / len(labels[head]) for head, found in asked.items() if head in heads)
            for asked in (self.asked[name] for name in names)
        ]
        return _mean(drawn)

    def _record(self, heads: Sequence[str]) -> dict[str, Any]:
        record = {**self.judge.protocol(), "labels": "mean of the windows' probabilities"}
        if len(heads) > 1:
            record["mean"] = "of what each text asks for, then over clips"
        if "tempo" in heads:
            words = {word: f"{low:g} to {high:g} bpm" for word, (low, high) in WORDS.items()}
            record |= {"tempo": RULE, "tempo_words": words}
            record["tempo_classes"] = self.judge.judge.labels["tempo"]
        return record


def _mean(values: Sequence[float]) -> float:
    return fmean(values) if values else math.nan
