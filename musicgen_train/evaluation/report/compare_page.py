"""The page that puts finished evaluations side by side."""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError
from musicgen_train.evaluation.report.compare_words import (
    metric_title,
    paired_row,
    summary_lines,
)
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.gallery import Gallery
from musicgen_train.evaluation.report.metric_plots import Panel, has_dots, plot_dots
from musicgen_train.evaluation.report.metric_tables import ARROWS
from musicgen_train.evaluation.report.number_text import (
    NOTHING,
    format_interval,
    format_value,
)
from musicgen_train.evaluation.report.page import page_template
from musicgen_train.evaluation.report.record import record_rows
from musicgen_train.evaluation.report.run_comparison import MetricComparison, RunComparison
from musicgen_train.evaluation.report.runs import Run, same_prompts
from musicgen_train.whole_files import replacing

RECORD = "comparison.json"
MADE_KINDS = ("generated", "text", "melody")


def check_output(folder: Path, runs: list[Path]) -> None:
    """Refuse a folder that holds something else: what an earlier comparison left is replaced."""
    if any(folder.resolve() == run.resolve() for run in runs):
        raise UserError(f"--output {folder} is one of the runs; take another folder")
    if folder.exists() and not folder.is_dir():
        raise UserError(f"--output {folder} is a file; take a folder")
    if folder.is_dir() and any(folder.iterdir()) and not (folder / RECORD).is_file():
        raise UserError(f"--output {folder} holds something else; take a new or empty folder")


def write_comparison(compared: RunComparison, folder: Path, n_clips: int = 6) -> Path:
    """Write comparison.json, pictures, sound and `folder`/index.html, whose path is returned."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in ("audio", "plots"):
        shutil.rmtree(folder / old, ignore_errors=True)
    with replacing(folder / RECORD) as partial:
        partial.write_text(json.dumps(compared.to_json(), indent=1, ensure_ascii=False))
    page = page_template("compare.html.jinja").render(
        runs=[{"name": r.name, "subtitle": r.results["subtitle"]} for r in compared.runs],
        groups=_groups(compared, folder),
        summary=summary_lines(compared),
        paired=[paired_row(pair, compared) for pair in compared.paired],
        cards=_cards(compared.runs, folder, n_clips),
        settings=_other_settings(compared.runs),
        notes=compared.notes,
    )
    with replacing(folder / "index.html") as partial:
        partial.write_text(page)
    return folder / "index.html"


def _groups(compared: RunComparison, folder: Path) -> list[dict[str, Any]]:
    """Metrics by family, each with a picture of all its runs."""
    groups: dict[str, list[MetricComparison]] = {}
    for metric in compared.metrics:
        groups.setdefault(parse_name(metric.name).group_title, []).append(metric)
    shown = []
    for number, (title, metrics) in enumerate(groups.items()):
        panels = [
            Panel(
                f"{metric_title(metric.name)} {ARROWS[next(iter(rows.values())).better][0]}", rows
            )
            for metric in metrics
            if (rows := {run: row for run, row in metric.rows.items() if has_dots(row)})
        ]
        picture = folder / "plots" / f"metrics{number}.png"
        if panels:
            plot_dots(panels, picture)
        rows = [_row(metric, compared.runs) for metric in metrics]
        url = picture.relative_to(folder).as_posix() if panels else ""
        shown.append({"title": title, "rows": rows, "picture": url})
    return shown


def _row(metric: MetricComparison, runs: list[Run]) -> dict[str, Any]:
    first = next(iter(metric.rows.values()))
    arrow, meaning = ARROWS[first.better]
    return {
        "title": metric_title(metric.name),
        "arrow": arrow,
        "arrow_meaning": meaning,
        "verdict": metric.verdict,
        "clear": bool(metric.best),
        "cells": [_cell(metric, run.name) for run in runs],
        "warnings": _warnings(metric),
        "records": [(run, record_rows(row.settings)) for run, row in metric.rows.items()],
    }


def _cell(metric: MetricComparison, run: str) -> dict[str, Any]:
    if run not in metric.rows:
        return {"value": NOTHING, "best": False, "interval": "", "n_clips": "", "differences": [],
                "interval_is": ""}  # fmt: skip
    row = metric.rows[run]
    return {
        "value": format_value(row.value, row.unit),
        "best": run == metric.best,
        "interval": format_interval(row.interval, row.unit),
        "interval_is": f"95 % interval: {row.interval_is}",
        "n_clips": f"{row.n_clips} clips",
        "differences": [str(d) for d in metric.differences[run] if d.serious],
    }


def _warnings(metric: MetricComparison) -> list[str]:
    """Each warning with the runs that it holds of."""
    about: dict[str, list[str]] = {}
    for run, row in metric.rows.items():
        for warning in row.warnings:
            about.setdefault(warning, []).append(run)
    return [f"{', '.join(runs)}: {warning}" for warning, runs in about.items()]


def _cards(runs: list[Run], folder: Path, n_clips: int) -> list[dict[str, Any]]:
    """The first prompts that all runs share, with what each made of them."""
    shared = [set(same_prompts(runs[0], run)) for run in runs[1:]]
    heard = [set(run.clips) for run in runs[1:]]
    keys = [key for key in runs[0].clips if all(key in other for other in [*shared, *heard])]
    galleries = [Gallery(run.folder, folder, str(number)) for number, run in enumerate(runs)]
    cards = []
    for key in keys[:n_clips]:
        clip = runs[0].clips[key]
        real = [kind for kind in ("reference",) if kind in clip["audio"]]
        versions = galleries[0].versions(clip, real, {})
        for run, gallery in zip(runs, galleries, strict=True):
            made = run.clips[key]
            for version in gallery.versions(made, _made_kinds(made), {}):
                versions.append({**version, "title": f"{run.name}: {version['title'].lower()}"})
        cards.append({"key": key, "text": clip["description"], "versions": versions})
    return cards


def _made_kinds(clip: Mapping[str, Any]) -> list[str]:
    """What the run made: music, or else copies by a codec."""
    made = [kind for kind in MADE_KINDS if kind in clip["audio"]]
    return made or [kind for kind in ("reconstruction",) if kind in clip["audio"]]


def _other_settings(runs: list[Run]) -> list[tuple[str, list[str]]]:
    """(setting, its value in each run) of those that are not the same in all."""
    flat = [_flat(run.results["settings"]) for run in runs]
    names = {name: None for settings in flat for name in settings}
    rows = [(name, [settings.get(name, NOTHING) for settings in flat]) for name in names]
    return [(name, values) for name, values in rows if len(set(values)) > 1]


def _flat(settings: Mapping[str, Any], above: str = "") -> dict[str, str]:
    found: dict[str, str] = {}
    for key, value in settings.items():
        if isinstance(value, Mapping):
            found |= _flat(value, f"{above}{key}.")
        else:
            found[f"{above}{key}"] = json.dumps(value, ensure_ascii=False)
    return found
