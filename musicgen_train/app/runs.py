"""Finished evaluations in the runs, read without trust, side by side."""

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from musicgen_train.app.evaluation_files import SIDES, evaluated, finetuned, players
from musicgen_train.app.run_results import SamplePair, read_samples
from musicgen_train.app.told_errors import without_paths
from musicgen_train.app.untrusted_files import read_object

if TYPE_CHECKING:
    from musicgen_train.evaluation.report.run_comparison import MetricComparison
    from musicgen_train.evaluation.report.runs import Run

_FILE = "metrics.json"
_DEEPEST = 2  # folders between a run's and that of its evaluation
_MOST_RUNS, _MOST_FOLDERS = 500, 2000
_PASSED_BY = {  # data, weights, and copies beside reports
    "work", "dataset", "shards", "tokens", "codes", "prior", "songs", "checkpoints", "logs",
    "audio", "clips", "samples", "report", "plots", "model", "adapter", "transformers", "corpus",
}  # fmt: skip


@dataclass(frozen=True)
class EvaluationClip:
    """A prompt with what can be played of it: title -> file inside the run."""

    key: str
    text: str
    audio: dict[str, Path] = field(default_factory=dict)


@dataclass(frozen=True, eq=False)
class EvaluationRun:
    """An evaluation: of evaluate.py, or one side (before, after) of a fine-tuning."""

    label: str
    subtitle: str
    clips: tuple[EvaluationClip, ...]
    protocol: tuple[tuple[str, str], ...]  # (setting, value), to be shown
    results: Mapping[str, Any]  # for the comparison


class EvaluationTable(NamedTuple):
    """Metrics down, runs across; notes say what cannot be compared and why."""

    columns: list[str]  # Metric, the runs' labels, Verdict (of two runs or more)
    rows: list[list[str]]
    notes: list[str]


def find_evaluations(runs_dir: Path) -> list[EvaluationRun]:
    """All that can be read in the runs, the newest first; what is damaged is left out."""
    found: list[tuple[float, list[EvaluationRun]]] = []
    for run in _runs(runs_dir):
        for folder, written in _evaluations(run):
            inner = folder.relative_to(run).as_posix()
            content = read_object(run, inner, _FILE)
            if "style" in content and "general" in content:
                found.append((written, _sides(run, content)))
            elif evaluation := _evaluation(run, inner, content):
                found.append((written, [evaluation]))
    found.sort(key=lambda dated: -dated[0])
    return [evaluation for _, several in found for evaluation in several]


def table(runs: Sequence[EvaluationRun]) -> EvaluationTable:
    """Their figures with intervals, arrows for which way is better, and verdicts."""
    from musicgen_train.evaluation.report.compare_words import (
        difference_lines,
        metric_title,
        paired_row,
    )
    from musicgen_train.evaluation.report.run_comparison import compare_runs

    runs = list(dict.fromkeys(runs))
    if not runs:
        return EvaluationTable(["Metric"], [], [])
    several = len(runs) > 1
    columns = ["Metric", *(run.label for run in runs), *(["Verdict"] if several else [])]
    measured = [_comparable(run) for run in runs]
    compared = compare_runs(measured)
    by_name = {metric.name: metric for metric in compared.metrics}
    names = dict.fromkeys(name for run in measured for name in run.rows)
    rows = []
    for name in names:
        cells = [_cell(run, name, by_name.get(name)) for run in measured]
        verdict = by_name[name].verdict if name in by_name else ""
        title = f"{metric_title(name)} {_arrow(measured, name)}".strip()
        rows.append([title, *cells, *([verdict] if several else [])])
    notes = [*difference_lines(compared), *compared.notes] if several else []
    for row in (paired_row(pair, compared) for pair in compared.paired):
        told = f"{row['difference']} {row['interval']}".strip()
        notes.append(
            f"{row['metric']} {row['arrow']}, clip by clip on {row['n_clips']} prompts, "
            f"{row['pair']}: {told} ({row['verdict']})"
        )
    return EvaluationTable(columns, rows, [without_paths(note) for note in notes])


def shared_clips(runs: Sequence[EvaluationRun]) -> list[EvaluationClip]:
    """Prompts that all runs have, each with every run's players: "label: title" -> file."""
    runs = list(dict.fromkeys(runs))
    if len(runs) < 2:
        return list(runs[0].clips) if runs else []
    known = [{clip.key: clip for clip in run.clips} for run in runs]
    found = []
    for clip in runs[0].clips:
        same = [clips[clip.key] for clips in known if clip.key in clips]
        if len(same) < len(runs) or any(other.text != clip.text for other in same):
            continue
        audio = {}
        for run, one in zip(runs, same, strict=True):
            for title, path in one.audio.items():
                if title == _reference():
                    audio.setdefault(title, path)
                else:
                    audio[f"{run.label}: {title.lower()}"] = path
        found.append(EvaluationClip(clip.key, clip.text, audio))
    return found


def _runs(runs_dir: Path) -> list[Path]:
    try:
        folders = [path for path in runs_dir.resolve().iterdir() if path.name[0] != "."]
    except OSError:
        return []
    named = [path for path in folders if path.is_dir() and _is_text(path.name)]
    return sorted(named)[:_MOST_RUNS]


def _is_text(name: str) -> bool:
    try:
        name.encode()
    except UnicodeEncodeError:  # of bytes that are no UTF-8
        return False
    return True


def _evaluations(run: Path) -> Iterator[tuple[Path, float]]:
    """Folders of a run with metrics.json, and when that was written; links are not followed."""
    seen = 0
    for place, folders, files in os.walk(run):
        seen += 1
        folder = Path(place)
        depth = len(folder.relative_to(run).parts)
        usual = [name for name in sorted(folders) if name not in _PASSED_BY and name[0] != "."]
        folders[:] = usual if depth < _DEEPEST and seen < _MOST_FOLDERS else []
        if _FILE in files and _is_text(place):
            try:
                yield folder, (folder / _FILE).stat().st_mtime
            except OSError:
                continue


def _evaluation(run: Path, inner: str, content: dict[str, Any]) -> EvaluationRun | None:
    """An evaluation by evaluate.py; None if it holds no figures, or is of another format."""
    from musicgen_train.evaluation.metrics_file import METRICS_FORMAT
    from musicgen_train.evaluation.report.gallery import VERSION_TITLES

    results = evaluated(content)
    if content.get("format") != METRICS_FORMAT or not results["metrics"]:
        return None
    clips = []
    for clip in results["clips"]:
        sounds = players(clip, run, inner)
        audio = {VERSION_TITLES.get(kind, kind): path for kind, path in sounds.items()}
        clips.append(EvaluationClip(clip["key"], clip["description"], audio))
    label = run.name if inner == "." else f"{run.name}/{inner}"
    protocol = tuple(_protocol(results["settings"]))
    return EvaluationRun(label, results["subtitle"], tuple(clips), protocol, results)


def _sides(run: Path, content: dict[str, Any]) -> list[EvaluationRun]:
    """Both sides of a fine-tuning, as far as they have figures."""
    pairs = read_samples(run)
    keyed = [(f"{pair.kind} {number}", pair) for number, pair in enumerate(pairs, 1)]
    asked = [
        {"key": key, "description": pair.text, "audio": {}, "scores": {}} for key, pair in keyed
    ]
    found = []
    for side in SIDES:
        results = finetuned(content, side, asked)
        if results["metrics"]:
            clips = tuple(EvaluationClip(k, p.text, _sounds(p, side)) for k, p in keyed)
            label = f"{run.name}, {side}"
            found.append(EvaluationRun(label, results["subtitle"], clips, (), results))
    return found


def _sounds(pair: SamplePair, side: str) -> dict[str, Path]:
    made = pair.before if side == "before" else pair.after
    sounds = {_reference(): pair.original, "Generated": made}
    return {title: path for title, path in sounds.items() if path is not None}


def _reference() -> str:
    from musicgen_train.evaluation.report.gallery import VERSION_TITLES

    return VERSION_TITLES["reference"]


def _protocol(settings: Mapping[str, Any], above: str = "") -> Iterator[tuple[str, str]]:
    """(setting, value) of all that is set, without places of the server."""
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _protocol(value, f"{above}{name}.")
        elif value is not None:
            text = ", ".join(map(str, value)) if isinstance(value, list) else str(value)
            yield f"{above}{name}", without_paths(text)


def _comparable(run: EvaluationRun) -> "Run":
    from musicgen_train.evaluation.report.runs import Run

    return Run(run.label, Path(), run.results)


def _cell(run: "Run", name: str, compared: "MetricComparison | None") -> str:
    """A figure with its interval; ≠: not to be compared with the first run's, *: clearly best."""
    from musicgen_train.evaluation.report.number_text import NOTHING, with_interval

    if name not in run.rows:
        return NOTHING
    row = run.rows[name]
    text = with_interval(row.value, row.interval, row.unit)
    if compared is None:
        return text
    if any(difference.serious for difference in compared.differences[run.name]):
        return f"{text} ≠"
    return f"{text} *" if run.name == compared.best else text


def _arrow(runs: Sequence["Run"], name: str) -> str:
    from musicgen_train.evaluation.report.metric_tables import ARROWS

    return next(ARROWS[run.rows[name].better][0] for run in runs if name in run.rows)
