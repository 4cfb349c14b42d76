"""What every single clip scored: a table to sort, and the worst and the best to listen to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.gallery import VERSION_TITLES, Gallery
from musicgen_train.evaluation.report.metric_plots import end_marks, plot_histogram
from musicgen_train.evaluation.report.metric_tables import ARROWS
from musicgen_train.evaluation.report.number_text import NOTHING, format_value

MAX_ROWS = 2000  # of the table; beyond, the worst and the best half of it
EXTREMES = 3  # clips at each end
RANKED_FAMILIES = ("kl", "clap", "chroma", "fad")  # whose clips are worth ranking, most first
SPREAD_FAMILIES = (*RANKED_FAMILIES, "aesthetics", "codec")  # worth a histogram
PLAYED_KINDS = ("reference", "text", "melody", "generated")  # in a row of the table
Clips = Sequence[Mapping[str, Any]]


class Column(NamedTuple):
    """A score that clips have."""

    row: Measurement
    title: str
    values: Mapping[str, float]  # key -> value, finite ones only


def score_columns(rows: Sequence[Measurement], clips: Clips) -> list[Column]:
    """Every measurement that some clip has a score of."""
    names = [parse_name(row.name) for row in rows]
    systems: dict[str, set[str]] = {}
    for name in names:
        systems.setdefault(name.metric, set()).add(name.system)
    columns = []
    for row, name in zip(rows, names, strict=True):
        scores = {clip["key"]: clip.get("scores", {}).get(row.name) for clip in clips}
        values = {key: score for key, score in scores.items() if score is not None}
        if values:
            several = len(systems[name.metric]) > 1
            suffix = f", {name.source.short}" if several else ""
            columns.append(Column(row, name.short + suffix, values))
    return columns


def score_table(columns: Sequence[Column], clips: Clips, gallery: Gallery) -> dict[str, Any] | None:
    """Heads and rows of the table of clips; None where no clip has a score."""
    if not columns:
        return None
    chosen, by = clips, ""
    if len(clips) > MAX_ROWS:
        column = ranked(columns)[0] if ranked(columns) else columns[0]
        order = by_badness(column)
        keys = {*order[: MAX_ROWS // 2], *order[-(MAX_ROWS // 2) :]}
        chosen, by = [clip for clip in clips if clip["key"] in keys], column.title
    return {
        "columns": [
            {"title": c.title, "arrow": ARROWS[c.row.better][0], "what": c.row.title}
            for c in columns
        ],
        "rows": [_clip_row(clip, columns, gallery) for clip in chosen],
        "n_clips": len(clips),
        "worst_and_best_by": by,
    }


def score_sections(
    columns: Sequence[Column], clips: Clips, gallery: Gallery
) -> list[dict[str, Any]]:
    """For each metric a histogram over clips, and each system's worst and best clips."""
    metrics: dict[str, list[Column]] = {}
    for column in columns:
        name = parse_name(column.row.name)
        if name.family in SPREAD_FAMILIES and len(column.values) > 1:
            metrics.setdefault(name.metric, []).append(column)
    by_key = {clip["key"]: clip for clip in clips}
    order = sorted(metrics, key=lambda metric: SPREAD_FAMILIES.index(metric.split(".")[0]))
    return [
        {
            "title": parse_name(metrics[metric][0].row.name).short,
            "per_song": metric.startswith("fad."),
            "picture": _histogram(metric, metrics[metric], gallery),
            "extremes": _extremes(metrics[metric], by_key, gallery),
        }
        for metric in order
    ]


def ranked(columns: Sequence[Column]) -> list[Column]:
    """Columns whose worst and best clips are worth a listen, the most telling first."""
    names = [parse_name(column.row.name) for column in columns]
    found = [
        (RANKED_FAMILIES.index(name.family), column)
        for name, column in zip(names, columns, strict=True)
        if name.family in RANKED_FAMILIES and name.system != "round_trip"
    ]
    return [column for _, column in sorted(found, key=lambda pair: pair[0])]


def by_badness(column: Column) -> list[str]:
    """Keys of the clips, the worst first."""
    sign = -1 if column.row.better == "lower" else 1
    return sorted(column.values, key=lambda key: (sign * column.values[key], key))


def _clip_row(
    clip: Mapping[str, Any], columns: Sequence[Column], gallery: Gallery
) -> dict[str, Any]:
    cells = []
    for column in columns:
        value = column.values.get(clip["key"])
        unit = "share" if column.row.unit == "share" else ""
        text = NOTHING if value is None else format_value(value, unit)
        cells.append({"text": text, "value": "" if value is None else f"{value:.9g}"})
    sounds = gallery.audio_if_room(clip, PLAYED_KINDS)
    return {
        "key": clip["key"],
        "segment": "" if clip.get("segment") in (None, clip["key"]) else clip["segment"],
        "text": clip["description"],
        "cells": cells,
        "sounds": [(VERSION_TITLES[kind], url) for kind, url in sounds.items()],
    }


def _histogram(metric: str, columns: Sequence[Column], gallery: Gallery) -> str:
    """Ends are marked where they are means over clips, which those of a FAD are not."""
    row = columns[0].row
    marks = [] if metric.startswith("fad.") else end_marks(row)
    picture = Path(gallery.page_dir, "plots", "spread", f"{metric}.png")
    values = {parse_name(c.row.name).source.music: [*c.values.values()] for c in columns}
    plot_histogram(values, marks, row.unit, picture)
    return gallery.url(picture)


def _extremes(
    columns: Sequence[Column], clips: Mapping[str, Mapping[str, Any]], gallery: Gallery
) -> list[dict[str, Any]]:
    found = []
    for column in ranked(columns):
        order = by_badness(column)
        n = min(EXTREMES, len(order) // 2)
        for title, keys in (("Worst", order[:n]), ("Best", order[::-1][:n])):
            system = parse_name(column.row.name).source.music
            found.append(
                {
                    "title": f"{title}, {system[0].lower()}{system[1:]}",
                    "clips": [_extreme(clips[key], column, gallery) for key in keys],
                }
            )
    return found


def _extreme(clip: Mapping[str, Any], column: Column, gallery: Gallery) -> dict[str, Any]:
    """A clip beside its reference."""
    kind = parse_name(column.row.name).source.kind
    if kind not in clip["audio"]:
        kind = next((k for k in ("melody", "text") if k in clip["audio"]), kind)
    kinds = [k for k in ("reference", kind) if k in clip["audio"]]
    value = format_value(column.values[clip["key"]], column.row.unit)
    return {
        "key": clip["key"],
        "text": clip["description"],
        "value": value,
        "versions": gallery.versions(clip, kinds, {}),
    }
