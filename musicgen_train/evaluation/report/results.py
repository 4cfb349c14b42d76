"""metrics.json as the pages read it, refused if it is none or of another time."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics_file import METRICS_FORMAT, read_metrics

PARTS = ("subtitle", "metrics", "faults", "clips", "settings", "versions")


def read_results(evaluation_dir: Path) -> dict[str, Any]:
    """The whole of metrics.json, with all its parts."""
    try:
        found = read_metrics(evaluation_dir)
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        place = evaluation_dir / "metrics.json"
        raise UserError(f"{place} is damaged ({error}); evaluate again") from None
    if not isinstance(found, dict) or found.get("format") != METRICS_FORMAT:
        held = found.get("format") if isinstance(found, dict) else None
        raise UserError(
            f"{evaluation_dir}/metrics.json has format {held}, this version reads format "
            f"{METRICS_FORMAT}; evaluate again"
        )
    if lost := [part for part in PARTS if part not in found]:
        raise UserError(f"{evaluation_dir}/metrics.json lacks {lost[0]}; evaluate again")
    return found


def measurements(results: Mapping[str, Any]) -> list[Measurement]:
    """The figures; null stands for a value that could not be computed."""
    rows = []
    for stored in results["metrics"]:
        value = math.nan if stored["value"] is None else stored["value"]
        interval = stored["interval"] and tuple(stored["interval"])
        if interval and None in interval:
            interval = None
        rows.append(Measurement(**{**stored, "value": value, "interval": interval}))
    return rows
