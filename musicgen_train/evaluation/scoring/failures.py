"""Clips that fail, by name: that fall silent, are clipped or broken, or far from real loudness."""

from __future__ import annotations

import math
from collections.abc import Mapping
from statistics import fmean

from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.embedders.facts import FULL_SCALE, ClipFacts
from musicgen_train.evaluation.heard_set import FACTS, HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.intervals import SHARE_INTERVAL, share_interval
from musicgen_train.evaluation.scoring.means import mean_over_clips

SILENT_FOR = 2.0  # seconds that a clip is silent longer than the real one
CLIPPED_SHARE = 1e-3  # of the samples more than in the real one
FAULTS = ("fall silent", "are clipped", "hold broken samples")
RECORD = {
    "fall_silent": f"below -60 dBFS for {SILENT_FOR:g} s longer than the real clip is",
    "clipped": f"{CLIPPED_SHARE:.1%} more of the samples at {FULL_SCALE:.4f} of full scale than "
    "in the real clip",
}


def failure_measurements(comparison: Comparison) -> list[Measurement]:
    """Of every system the share of clips that fail, and the loudness beside real music's."""
    systems = [s for s in comparison.systems if s.heard is not comparison.round_trip]
    return [
        row
        for system in systems
        for row in (_failing(comparison, system), _loudness(comparison, system))
    ]


def failing_clips(heard: HeardSet, real: HeardSet) -> dict[str, list[str]]:
    """The clips with each fault that the real clip of the same name has not."""
    found: dict[str, list[str]] = {fault: [] for fault in FAULTS}
    silent, clipped, broken = found.values()
    for name in heard.names:
        ours = heard.facts(name)
        theirs = real.facts(name) if name in real else None
        if ours.silence - (theirs.silence if theirs else 0.0) > SILENT_FOR:
            silent.append(name)
        if ours.clipped - (theirs.clipped if theirs else 0.0) > CLIPPED_SHARE:
            clipped.append(name)
        if name in heard.faults.non_finite:
            broken.append(name)
    return found


def _failing(comparison: Comparison, system: System) -> Measurement:
    names, found = system.heard.names, failing_clips(system.heard, comparison.pairs)
    failing = {name for faulty in found.values() for name in faulty}
    share = len(failing) / len(names)
    tracks = {comparison.track(name) for name in names}
    interval = share_interval(share, len(tracks))
    others = {fault: len(faulty) / len(names) for fault, faulty in found.items()}
    if comparison.ceiling is not None:
        worse = failing_clips(comparison.ceiling, comparison.pairs)
        every = {name for faulty in worse.values() for name in faulty}
        others["untrained"] = len(every) / len(comparison.ceiling.names)
    return Measurement(
        ".".join(filter(None, ("failures", "clips", system.name))),
        f"Clips that fail, {system.title}",
        share,
        "lower",
        n_clips=len(names),
        unit="share",
        good_end=0.0,
        good_end_is="none",
        interval=interval,
        interval_is=SHARE_INTERVAL if interval else "",
        others=others,
        settings={**RECORD, "failing": found},
        per_clip={name: float(name in failing) for name in names},
    )


def _loudness(comparison: Comparison, system: System) -> Measurement:
    heard, real = system.heard, comparison.pairs
    facts: Mapping[str, ClipFacts] = {name: heard.facts(name) for name in heard.names}
    paired = any(name in real for name in facts)
    usual = _mean([real.facts(name).loudness for name in real.names])
    found, dropped = {}, {}
    for name, ours in facts.items():
        if paired and name not in real:
            dropped[name] = f"no readable partner in {real.title}"
            continue
        found[name] = ours.loudness - (real.facts(name).loudness if paired else usual)
    return mean_over_clips(
        ".".join(filter(None, ("failures", "loudness", system.name))),
        f"Loudness beside real music, {system.title}",
        found,
        "neither",
        comparison,
        dropped,
        unit="LU",
        good_end=0.0,
        good_end_is="as loud as the real clip" if paired else "as loud as the reference's mean",
        others={"mean of the sizes": _mean([abs(value) for value in found.values()])},
        settings={**FACTS.protocol(), "silent_clips": "have no loudness and are left out"},
    )


def _mean(values: list[float]) -> float:
    finite = [value for value in values if math.isfinite(value)]
    return fmean(finite) if finite else math.nan
