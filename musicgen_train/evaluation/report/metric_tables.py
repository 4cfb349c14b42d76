"""The figures of an evaluation as the page shows them: tables by family, each with a picture."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.metric_plots import Panel, has_dots, plot_dots
from musicgen_train.evaluation.report.number_text import (
    format_end,
    format_interval,
    format_value,
)
from musicgen_train.evaluation.report.record import record_rows
from musicgen_train.evaluation.report.verdicts import failing_lines, grade

ARROWS = {
    "lower": ("↓", "lower is better"),
    "higher": ("↑", "higher is better"),
    "neither": ("", ""),
}


def metric_groups(rows: Sequence[Measurement], report: Path) -> list[dict[str, Any]]:
    """Title, table rows and picture of each family, in the order in which they come."""
    found = []
    for number, (title, members) in enumerate(grouped(rows).items()):
        picture = report / "plots" / f"metrics{number}.png"
        panels = dot_panels(members)
        if panels:
            plot_dots(panels, picture)
        found.append(
            {
                "title": title,
                "rows": [_table_row(row) for row in members],
                "picture": picture.relative_to(report).as_posix() if panels else "",
            }
        )
    return found


def grouped(rows: Sequence[Measurement]) -> dict[str, list[Measurement]]:
    """Figures by the title of their family."""
    groups: dict[str, list[Measurement]] = {}
    for row in rows:
        groups.setdefault(parse_name(row.name).group_title, []).append(row)
    return groups


def dot_panels(rows: Sequence[Measurement]) -> list[Panel]:
    """Figures that share a scale; one that stands between no ends and has no interval is left."""
    panels: dict[str, dict[str, Measurement]] = {}
    for row in rows:
        alone = row.interval is None and (row.good_end is None or row.bad_end is None)
        if has_dots(row) and not alone:
            name = parse_name(row.name)
            panels.setdefault(name.metric, {})[name.source.music] = row
    return [Panel(_panel_title(named), named) for named in panels.values()]


def _panel_title(named: dict[str, Measurement]) -> str:
    row = next(iter(named.values()))
    unit = {"share": "%"}.get(row.unit, row.unit)
    name = parse_name(row.name).short
    return " ".join(filter(None, (name, f"({unit})" if unit else "", ARROWS[row.better][0])))


def _table_row(row: Measurement) -> dict[str, Any]:
    position = row.position()
    arrow, meaning = ARROWS[row.better]
    others = (f"{name}: {format_value(value, row.unit)}" for name, value in row.others.items())
    record = record_rows(row.settings)
    if row.interval_is:
        record.insert(0, ("interval", f"95 %, {row.interval_is}"))
    return {
        "title": row.title,
        "value": format_value(row.value, row.unit),
        "interval": format_interval(row.interval, row.unit),
        "interval_is": f"95 % interval: {row.interval_is}",
        "arrow": arrow,
        "arrow_meaning": meaning,
        "good_end": format_end(row.good_end, row.unit),
        "good_end_is": row.good_end_is,
        "bad_end": format_end(row.bad_end, row.unit),
        "bad_end_is": row.bad_end_is,
        "percent": None if position is None else round(100 * position),
        "grade": grade(row),
        "others": " · ".join(others),
        "warnings": [*failing_lines(row), *row.warnings],
        "record": [("name", row.name), *record],
        "n_clips": row.n_clips,
        "n_vectors": row.n_vectors,
    }
