"""Finished evaluations without any model: a metrics.json and a few clips."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import soundfile

from musicgen_train.evaluation.clips import ClipFaults
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics_file import write_metrics

RATE = 8000
SOUNDS = 12
UNITS = {"chroma.argmax": "share", "kl": "nats"}
HIGHER = ("clap", "chroma", "coverage", "text")


def measured(name: str, value: float, **fields: Any) -> Measurement:
    """A measurement as the pipeline makes it, with another field where it is given."""
    better = "higher" if name.startswith(HIGHER) else "lower"
    unit = UNITS.get(name, UNITS.get(name.split(".")[0], ""))
    known = {"title": name, "better": better, "n_clips": 40, "unit": unit, **fields}
    return Measurement(name, value=value, **known)


def clip(key: str, scores: Mapping[str, float | None], text: str = "a song", **fields: Any) -> dict:
    """An entry of the table of clips."""
    facts = {"duration": 0.5, "rms": 0.1}
    return {
        "key": key,
        "segment": key,
        "description": text,
        "wanted": {},
        "heard": {},
        "audio": {kind: f"audio/{kind}/{key}.wav" for kind in ("reference", "generated")},
        "facts": {"reference": facts, "generated": facts},
        "scores": dict(scores),
        **fields,
    }


def write_run(
    folder: Path,
    rows: list[Measurement],
    clips: list[dict] | None = None,
    settings: dict | None = None,
) -> Path:
    """Write metrics.json, and a tone for each of the first clips."""
    clips = clips or []
    for entry in clips[:SOUNDS]:
        for place in entry["audio"].values():
            path = folder / place
            if not path.exists():
                write_tone(path)
    faults = {"generated": ClipFaults(n_clips=len(clips))}
    write_metrics(folder, f"{len(clips)} clips", rows, clips, faults, settings or {}, {})
    return folder


def write_tone(path: Path) -> None:
    """Half a second of a tone in any format that libsndfile writes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    soundfile.write(path, 0.3 * np.sin(np.arange(RATE // 2) * 0.3), RATE)
