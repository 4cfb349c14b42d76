"""A metric that every clip has for itself, as the mean over clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.intervals import (
    MEAN_INTERVAL,
    T_INTERVAL,
    Interval,
    bootstrap_mean,
    t_mean,
)

FEW_CLIPS = FEW_TRACKS = 30


def mean_over_clips(
    name: str,
    title: str,
    per_clip: Mapping[str, float],
    better: Literal["lower", "higher", "neither"],
    comparison: Comparison,
    dropped: Mapping[str, str],
    **fields: Any,
) -> Measurement:
    """The mean of the finite values, with its interval; what has no value is named with a reason.

    fields: further fields of the measurement.
    """
    found = {clip: value for clip, value in per_clip.items() if math.isfinite(value)}
    missing = {**dropped, **{clip: "undefined" for clip in per_clip if clip not in found}}
    tracks = [comparison.track(clip) for clip in found]
    few = len(set(tracks)) < FEW_TRACKS
    # Of few the percentile bootstrap is too narrow.
    interval = (t_mean if few else bootstrap_mean)([*found.values()], tracks)
    if interval is not None and interval.low == interval.high:
        interval = None  # clips that all agree tell nothing of others
    if interval is not None and fields.get("unit") == "share":
        interval = Interval(max(0.0, interval.low), min(1.0, interval.high))
    value = sum(found.values()) / len(found) if found else math.nan
    warnings = list(fields.pop("warnings", ()))
    if len(found) < FEW_CLIPS:
        warnings.append(f"{len(found)} clips: fewer than {FEW_CLIPS} tell little")
    return Measurement(
        name,
        title,
        value,
        better,
        n_clips=len(found),
        interval=interval,
        interval_is=(T_INTERVAL if few else MEAN_INTERVAL) if interval else "",
        warnings=tuple(warnings),
        settings={**fields.pop("settings", {}), "dropped": missing},
        per_clip=dict(per_clip),
        **fields,
    )


def unpaired(names: Iterable[str], *sets: str) -> dict[str, str]:
    """Why clips are left out of a metric of pairs."""
    return dict.fromkeys(names, f"no readable partner in {' or '.join(sets)}")
