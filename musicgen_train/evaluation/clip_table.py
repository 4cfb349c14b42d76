"""What metrics.json says of each prompt: its clips, what was measured and heard in them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from musicgen_train.evaluation.clips import Clip, write_clip
from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.embedders.judge_embedder import STYLE_HEADS, JudgeEmbedder
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.kl import clip_log_probabilities
from musicgen_train.evaluation.report.sonify import sonify_chroma
from musicgen_train.whole_files import replacing, writing

if TYPE_CHECKING:
    from musicgen_train.evaluation.measuring import Evaluation

KINDS = ("reference", "reconstruction", "text", "generated", "untrained", "melody")


def clip_table(
    comparison: Comparison, evaluation: Evaluation, rows: Sequence[Measurement]
) -> list[dict[str, Any]]:
    """One entry per name that some system has a clip of, with the scores of all metrics by name.

    The melodies of the first `n_cards` are written as audio and as chroma.npz, to be shown.
    """
    sets = _sets(comparison)
    systems = [system.heard for system in comparison.systems]
    names = sorted({name for heard in systems for name in heard.names})
    judge = evaluation.listeners.judge
    entries = [_entry(name, comparison, sets, rows, judge, evaluation) for name in names]
    _write_melodies(entries[: evaluation.n_cards], comparison, evaluation)
    return entries


def _sets(comparison: Comparison) -> dict[str, HeardSet]:
    """Every set with clips of the prompts' names, by kind, in the order of the report."""
    found = {"reference": comparison.pairs}
    if comparison.round_trip is not None:
        found["reconstruction"] = comparison.round_trip
    for system in comparison.systems:
        if system.heard is not comparison.round_trip:
            found[system.name or "generated"] = system.heard
    if comparison.ceiling is not None:
        found["untrained"] = comparison.ceiling
    return dict(sorted(found.items(), key=lambda item: KINDS.index(item[0])))


def _entry(
    name: str,
    comparison: Comparison,
    sets: dict[str, HeardSet],
    rows: Sequence[Measurement],
    judge: JudgeEmbedder | None,
    evaluation: Evaluation,
) -> dict[str, Any]:
    prompt = comparison.prompt(name)
    there = {kind: heard for kind, heard in sets.items() if name in heard}
    scores = {row.name: row.per_clip[name] for row in rows if name in row.per_clip}
    return {
        "key": name,
        "segment": prompt.origin or name,
        "track": comparison.track(name),
        "description": prompt.text,
        "wanted": dict(prompt.wanted),
        "heard": {k: _labels(judge, h, name) for k, h in there.items()} if judge else {},
        "audio": {k: place_in(h.path(name), evaluation.output_dir) for k, h in there.items()},
        "facts": {k: _plain(h.facts(name)._asdict()) for k, h in there.items()},
        "scores": _plain(scores),
    }


def _labels(judge: JudgeEmbedder, heard: HeardSet, name: str) -> dict[str, str]:
    """The most probable label of each style head."""
    arrays = heard.arrays(judge, name)
    found = {}
    for head in STYLE_HEADS:
        said = clip_log_probabilities(torch.from_numpy(arrays[f"logits.{head}"]))
        found[head] = judge.judge.labels[head][int(said.argmax())]
    return found


def place_in(path: Path, output_dir: Path) -> str:
    """Within the evaluation's folder if it is there, so that the folder can be moved."""
    path, home = path.resolve(), output_dir.resolve()
    return path.relative_to(home).as_posix() if path.is_relative_to(home) else str(path)


def _plain(values: dict[str, float]) -> dict[str, float | None]:
    return {key: value if math.isfinite(value) else None for key, value in values.items()}


def _write_melodies(
    entries: Sequence[dict[str, Any]], comparison: Comparison, evaluation: Evaluation
) -> None:
    """Melodies that were asked for as audio, and their chroma beside that of the result."""
    listener = evaluation.listeners.chroma
    melodic = next((system for system in comparison.systems if system.with_melody), None)
    arrays = {}
    for entry in entries if listener and melodic else ():
        name, asked = entry["key"], comparison.prompt(entry["key"]).chroma
        if asked is None or listener is None or melodic is None or name not in melodic.heard:
            continue
        facts, rate = melodic.heard.facts(name), int(melodic.heard.facts(name).sample_rate)
        place = evaluation.output_dir / "audio" / "melody_source" / f"{name}.flac"
        write_clip(place, Clip(name, sonify_chroma(asked, facts.duration, rate), rate))
        entry["audio"]["melody_source"] = place_in(place, evaluation.output_dir)
        arrays[f"{name}.asked"] = asked.half().numpy()
        arrays[f"{name}.heard"] = melodic.heard.arrays(listener, name)["chroma"].astype(np.float16)
    place = evaluation.output_dir / "chroma.npz"
    with writing(place), replacing(place) as partial, partial.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
