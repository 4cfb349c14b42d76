"""metrics.json: the one record of a finished evaluation."""

from __future__ import annotations

import importlib.metadata
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import ClipFaults
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.whole_files import replacing, writing

METRICS_FORMAT = 2
VERSIONS = (
    "musicgen_train", "torch", "lightning", "transformers", "numpy", "scipy", "soxr", "julius",
    "pyloudnorm", "soundfile", "sphn", "av",
)  # fmt: skip


def write_metrics(
    output_dir: Path,
    subtitle: str,
    rows: Sequence[Measurement],
    clips: Sequence[dict[str, Any]],
    faults: Mapping[str, ClipFaults],
    settings: Mapping[str, Any],
    seconds: Mapping[str, float],
    tables: Mapping[str, Sequence[dict[str, Any]]] | None = None,
) -> None:
    """Write metrics.json in one go: a folder with it is a finished evaluation.

    The times stand in timings.json, so that the same evaluation gives the same metrics.json.
    `tables` are further lists of rows, by their name.
    """
    content = {
        "format": METRICS_FORMAT,
        "subtitle": subtitle,
        "metrics": [row.to_json() for row in rows],
        "faults": {kind: found.to_json() for kind, found in faults.items()},
        "clips": list(clips),
        **{name: list(table) for name, table in (tables or {}).items()},
        "settings": dict(settings),
        "versions": versions(),
    }
    output_dir.mkdir(parents=True, exist_ok=True)
    spent = {name: round(taken, 2) for name, taken in seconds.items()}
    timings, metrics = output_dir / "timings.json", output_dir / "metrics.json"
    with writing(timings), replacing(timings) as partial:
        partial.write_text(json.dumps(spent, indent=1, ensure_ascii=False))
    with writing(metrics), replacing(metrics) as partial:
        partial.write_text(json.dumps(content, indent=1, allow_nan=False, ensure_ascii=False))


def read_metrics(evaluation_dir: Path) -> dict[str, Any]:
    """metrics.json of a finished evaluation."""
    path = evaluation_dir / "metrics.json"
    if not path.is_file():
        raise UserError(f"no metrics.json in {evaluation_dir}; run evaluate.py first")
    return json.loads(path.read_text())


def versions() -> dict[str, str]:
    """Versions of what the numbers depend on."""
    found = {}
    for name in VERSIONS:
        try:
            found[name] = importlib.metadata.version(name)
        except importlib.metadata.PackageNotFoundError:
            found[name] = "not installed as a package"
    return found
