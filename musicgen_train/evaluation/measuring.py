"""From clips on disk to metrics.json: who listens, what is measured, what is written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from musicgen_train.evaluation.clip_table import clip_table
from musicgen_train.evaluation.clips import ClipFaults, ClipFile
from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.heard_set import FACTS, HeardSet
from musicgen_train.evaluation.listeners import Listeners
from musicgen_train.evaluation.listening import hear
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics_file import write_metrics
from musicgen_train.evaluation.ranks import Ranks
from musicgen_train.evaluation.scoring.aesthetics import aesthetics_measurements
from musicgen_train.evaluation.scoring.distance import DistanceScorer
from musicgen_train.evaluation.scoring.divergence import divergence_measurements
from musicgen_train.evaluation.scoring.failures import failure_measurements
from musicgen_train.evaluation.scoring.judged_text import JudgedTextScorer
from musicgen_train.evaluation.scoring.long_form import LongFormScorer
from musicgen_train.evaluation.scoring.melody import MelodyScorer
from musicgen_train.evaluation.scoring.text import clap_measurements
from musicgen_train.evaluation.stages import Stages


@dataclass
class Evaluation:
    """What every kind of evaluation needs besides its clips."""

    output_dir: Path
    listeners: Listeners
    cache: HeardCache
    settings: dict[str, Any]  # for the record: nothing that does not change a number
    stages: Stages
    ranks: Ranks = field(default_factory=Ranks)
    n_cards: int = 6  # clips that the report shows with all their pictures


def hear_sets(
    files: Mapping[str, Sequence[ClipFile]],
    evaluation: Evaluation,
    listeners: Sequence[Embedder] | None = None,
    stage: str = "Listening",
) -> dict[str, HeardSet] | None:
    """Let everybody hear the clips of every set, this rank its share; only rank 0 goes on.

    listeners: some of them only.
    """
    cache, ranks = evaluation.cache, evaluation.ranks
    listeners = evaluation.listeners.everybody if listeners is None else listeners
    paths = [file.path for kind in files.values() for file in kind]
    with evaluation.stages.stage(stage) as progress:
        hear([FACTS, *listeners], paths, cache, ranks, progress)
    if not ranks.first:
        return None
    return {title: HeardSet(title, kind, cache) for title, kind in files.items()}


def measure(comparison: Comparison, evaluation: Evaluation) -> list[Measurement]:
    """Every family of metrics that has its listener."""
    listeners, rows = evaluation.listeners, list[Measurement]()
    with _scratch(evaluation.output_dir / ".vectors") as folder:
        for embedder in listeners.embedders:
            with evaluation.stages.stage(f"Distances, {embedder.name}") as progress:
                scorer = DistanceScorer(comparison, embedder, listeners.protocol, folder)
                rows += scorer.measurements(progress)
    with evaluation.stages.stage("Comparing clips"):
        if listeners.tagger is not None:
            rows += divergence_measurements(comparison, listeners.tagger, listeners.protocol.compat)
        if listeners.clap is not None:
            rows += clap_measurements(comparison, listeners.clap)
        if listeners.text_judge is not None:
            rows += JudgedTextScorer(comparison, listeners.text_judge).measurements()
        if listeners.chroma is not None:
            compat = listeners.protocol.compat
            rows += MelodyScorer(comparison, listeners.chroma, compat).measurements()
        if "failures" in listeners.metrics:
            rows += failure_measurements(comparison)
        if listeners.aesthetics is not None:
            rows += aesthetics_measurements(comparison, listeners.aesthetics)
    return rows


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """A folder that is empty at first and gone at the end, also that of a run that was killed."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder)


def write_results(
    comparison: Comparison,
    evaluation: Evaluation,
    rows: list[Measurement],
    subtitle: str,
    unreadable: Mapping[str, Mapping[str, str]],
    long_form: LongFormScorer | None = None,
) -> list[Measurement]:
    """Measure, add to `rows`, and write metrics.json, which makes the evaluation finished.

    unreadable: what could not even become a clip, by where it was, with reasons.
    """
    rows, tables = [*rows, *measure(comparison, evaluation)], {}
    if long_form is not None:
        rows += long_form.measurements()
        tables["long_form"] = long_form.table(evaluation.output_dir)
    clips = clip_table(comparison, evaluation, rows)
    sets = {"reference": comparison.reference, "real clips": comparison.pairs}
    sets = {id(heard): (title, heard) for title, heard in reversed(sets.items())}
    faults = {title: heard.faults for title, heard in sets.values()}
    faults |= {system.heard.title: system.heard.faults for system in comparison.systems}
    if comparison.ceiling is not None:
        faults[comparison.ceiling.title] = comparison.ceiling.faults
    faults |= {where: ClipFaults(unreadable=dict(lost)) for where, lost in unreadable.items()}
    settings = {**evaluation.settings, "protocol": evaluation.listeners.protocol.to_json()}
    settings["not_measured"] = evaluation.listeners.left_out
    write_metrics(
        evaluation.output_dir, subtitle, rows, clips, faults, settings,
        evaluation.stages.seconds, tables,
    )  # fmt: skip
    return rows
