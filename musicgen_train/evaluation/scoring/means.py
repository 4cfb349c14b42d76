"""A metric that every clip has for itself, as the mean over clips."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal

from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.intervals import MEAN_INTERVAL, bootstrap_mean

FEW_CLIPS = 30


def mean_over_clips(
    name: str,
    title: str,
    per_clip: Mapping[str, float],
    better: Literal["lower", "higher"],
    comparison: Comparison,
    dropped: Mapping[str, str],
    **fields: Any,
) -> Measurement:
    """The mean of the finite values, with its interval; what has no value is named with a reason.

    fields: further fields of the measurement.
    """
    found = {clip: value for clip, value in per_clip.items() if math.isfinite(value)}
    missing = {**dropped, **{clip: "undefined" for clip in per_clip if clip not in found}}
    interval = bootstrap_mean(list(found.values()), [comparison.track(clip) for clip in found])
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
        interval_is=MEAN_INTERVAL if interval else "",
        warnings=tuple(warnings),
        settings={**fields.pop("settings", {}), "dropped": missing},
        per_clip=dict(per_clip),
        **fields,
    )


def unpaired(names: Iterable[str], *sets: str) -> dict[str, str]:
    """Why clips are left out of a metric of pairs."""
    return dict.fromkeys(names, f"no readable partner in {' or '.join(sets)}")
