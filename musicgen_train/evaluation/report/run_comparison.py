"""Runs side by side: which is better in what, as far as the intervals tell."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.intervals import bootstrap_mean
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.protocol_differences import (
    Difference,
    protocol_differences,
)
from musicgen_train.evaluation.report.runs import Run, same_prompts

NO_CLEAR = "no clear difference"
MEAN_FAMILIES = (
    "kl",
    "clap",
    "chroma",
    "text",
    "failures",
    "aesthetics",
    "codec",
)  # means over clips
FEWEST_PAIRS = 10  # below, a bootstrap interval is much too narrow
SAME_SHARE = 0.9  # of the prompts, so that runs count as measured on the same


@dataclass
class MetricComparison:
    """One metric of all runs that have it."""

    name: str
    rows: dict[str, Measurement]  # run -> figure
    differences: dict[str, list[Difference]]  # run -> how its record differs from the first's
    best: str = ""  # the run that is clearly better than every other, if there is one
    verdict: str = ""

    @property
    def comparable(self) -> list[str]:
        """Runs whose figures stand on one protocol with that of the first."""
        return [run for run in self.rows if not any(d.serious for d in self.differences[run])]


class Paired(NamedTuple):
    """The mean difference of a score over the clips that two runs made of the same prompts."""

    metric: str
    first: str
    second: str
    n_clips: int
    difference: float  # second less first
    interval: tuple[float, float] | None
    verdict: str


@dataclass
class RunComparison:
    """All that a page or a terminal shows of some runs."""

    runs: list[Run]
    metrics: list[MetricComparison]
    paired: list[Paired]
    notes: list[str] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        """Plain values."""
        return {
            "runs": {run.name: str(run.folder) for run in self.runs},
            "metrics": [
                {
                    "name": metric.name,
                    "values": {run: row.to_json()["value"] for run, row in metric.rows.items()},
                    "intervals": {run: row.interval for run, row in metric.rows.items()},
                    "differences": {
                        run: [d._asdict() for d in found]
                        for run, found in metric.differences.items()
                        if found
                    },
                    "best": metric.best,
                    "verdict": metric.verdict,
                }
                for metric in self.metrics
            ],
            "paired": [pair._asdict() for pair in self.paired],
            "notes": self.notes,
        }


def compare_runs(runs: Sequence[Run]) -> RunComparison:
    """Every metric that two runs or more have, and clip by clip against the first run."""
    names = {name: None for run in runs for name in run.rows}
    shared = {(runs[0].name, run.name): same_prompts(runs[0], run) for run in runs[1:]}
    metrics = [
        compare_metric(name, having)
        for name in names
        if len(having := [run for run in runs if name in run.rows]) > 1
    ]
    paired = [
        pair
        for metric in metrics
        for run in runs[1:]
        if (pair := _paired(metric, runs[0], run, shared[runs[0].name, run.name])) is not None
    ]
    lone = [name for name in names if sum(name in run.rows for run in runs) == 1]
    notes = [f"In one run only: {', '.join(lone)}."] if lone else []
    for (first, second), keys in shared.items():
        total = max(len(runs[0].prompts), len(next(r for r in runs if r.name == second).prompts))
        if total and len(keys) < total:
            notes.append(f"{first} and {second} share {len(keys)} of {total} prompts.")
    return RunComparison(list(runs), metrics, paired, notes)


def compare_metric(name: str, runs: Sequence[Run]) -> MetricComparison:
    """The figures of runs that have a metric, and whether one is clearly the best."""
    first, rows = runs[0], {run.name: run.rows[name] for run in runs}
    differences: dict[str, list[Difference]] = {first.name: []}
    for run in runs[1:]:
        found = protocol_differences(first.rows[name], run.rows[name])
        differences[run.name] = found + _other_prompts(first, run)
    compared = MetricComparison(name, rows, differences)
    compared.best, compared.verdict = _verdict(compared)
    return compared


def clearly_better(one: Measurement, other: Measurement) -> bool:
    """Whether the intervals of two figures are apart, the first on the better side."""
    if one.interval is None or other.interval is None or one.better == "neither":
        return False
    if one.better == "lower":
        return one.interval[1] < other.interval[0] and one.value < other.value
    return one.interval[0] > other.interval[1] and one.value > other.value


def paired_difference(
    metric: Measurement, first: Run, second: Run, keys: Sequence[str]
) -> Paired | None:
    """Mean of second less first over the clips of `keys` that both have a score of.

    Each clip is its own control, so that far smaller differences show than between two means.
    None where there is no such clip.
    """
    ours, theirs = first.scores(metric.name), second.scores(metric.name)
    pairs = [key for key in keys if key in ours and key in theirs]
    if not pairs:
        return None
    found = [theirs[key] - ours[key] for key in pairs]
    drawn = bootstrap_mean(found, [first.track(key) for key in pairs])
    interval = None if drawn is None else (drawn.low, drawn.high)
    mean = math.fsum(found) / len(found)
    if len(pairs) < FEWEST_PAIRS or interval is None:
        verdict = f"fewer than {FEWEST_PAIRS} clips: no verdict"
    elif interval[0] <= 0 <= interval[1] or metric.better == "neither":
        verdict = NO_CLEAR
    else:
        verdict = f"{second.name if (mean > 0) == (metric.better == 'higher') else first.name}"
        verdict += " better"
    return Paired(metric.name, first.name, second.name, len(pairs), mean, interval, verdict)


def _paired(metric: MetricComparison, first: Run, run: Run, keys: Sequence[str]) -> Paired | None:
    mean = parse_name(metric.name).family in MEAN_FAMILIES
    if not mean or first.name not in metric.rows or run.name not in metric.comparable:
        return None
    return paired_difference(metric.rows[first.name], first, run, keys)


def _other_prompts(first: Run, second: Run) -> list[Difference]:
    """Runs on other prompts: a difference may be that of the prompts."""
    if not (first.prompts and second.prompts):
        return []
    total, same = max(len(first.prompts), len(second.prompts)), len(same_prompts(first, second))
    if same >= SAME_SHARE * total:
        return []
    return [Difference("prompts", f"{total}", f"{same} of these")]


def _verdict(compared: MetricComparison) -> tuple[str, str]:
    """The best run or "", and what to say."""
    rows = {run: compared.rows[run] for run in compared.comparable}
    others = [run for run in compared.rows if run not in rows]
    if len(rows) < 2:
        return "", "not comparable"
    rest = f" ({', '.join(others)} not comparable)" if others else ""
    finite = {run: row for run, row in rows.items() if math.isfinite(row.value)}
    first = next(iter(rows.values()))
    if first.better == "neither":
        return "", rest.strip()
    if len(finite) < 2:
        return "", f"not measurable{rest}"
    pick = min if first.better == "lower" else max
    best = pick(finite, key=lambda run: finite[run].value)
    against = {run: row for run, row in finite.items() if run != best}
    if any(row.interval is None for row in finite.values()):
        return "", f"no interval, so no verdict{rest}"
    close = [run for run, row in against.items() if not clearly_better(finite[best], row)]
    if not close:
        return best, f"{best} better{rest}"
    between = f" between {', '.join([best, *close])}" if len(against) > 1 else ""
    return "", f"{NO_CLEAR}{between}{rest}"
