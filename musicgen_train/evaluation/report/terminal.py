"""The figures of an evaluation as tables on the terminal, readable from 80 columns on."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.codec_report import codec_tables
from musicgen_train.evaluation.report.families import SHORT_NAMES, parse_name
from musicgen_train.evaluation.report.metric_tables import ARROWS, grouped
from musicgen_train.evaluation.report.number_text import (
    NOTHING,
    format_end,
    format_interval,
    format_value,
    listed,
)
from musicgen_train.evaluation.report.verdicts import failing_lines, fault_sentences

COLUMNS = ("value", "95 %", "floor", "ceiling", "clips")
GAP, INDENT, SHORTEST_LABEL, LONGEST_LABEL = 2, 2, 24, 46  # columns
NAMED = 3


def print_measurements(rows: Sequence[Measurement], console: Console | None = None) -> None:
    """Every figure between both ends of its scale, family by family, and what makes it unsure."""
    console = console or Console()
    figures = {row.name: _figures(row) for row in rows}
    widths = [max(map(len, column)) for column in zip(COLUMNS, *figures.values(), strict=True)]
    console.print(aligned(widths, console.width, [("", COLUMNS)]), style="bold")
    for title, members in grouped(rows).items():
        console.print(Text(title, style="bold"))
        lines = [(_label(row), figures[row.name]) for row in members]
        console.print(aligned(widths, console.width, lines))
        for line in _ends(members):
            console.print(Padding(Text(line, style="dim"), (0, 0, 0, INDENT)))
    for row in rows:
        for line in failing_lines(row):
            console.print(Text(f"! {parse_name(row.name).source.music}: {line}", style="yellow"))
    for line in warning_lines(rows):
        console.print(Text(line, style="yellow"))


def warning_lines(rows: Sequence[Measurement]) -> list[str]:
    """Each warning once, with the figures that it is about."""
    about: dict[str, list[str]] = {}
    for row in rows:
        for warning in row.warnings:
            about.setdefault(warning, []).append(row.name)
    return [f"! {warning} ({listed(names, NAMED)})" for warning, names in about.items()]


def aligned(
    widths: Sequence[int], console_width: int, lines: Iterable[tuple[str, Sequence[str]]]
) -> Group:
    """Lines whose figures stand under each other in all tables.

    Where labels have no room beside the figures, each stands above its own. widths: of figures.
    """
    room = console_width - sum(widths) - GAP * len(widths)
    beside = room >= SHORTEST_LABEL
    shown = []
    for label, figures in lines:
        table = Table(box=None, show_header=False, pad_edge=False, padding=(0, GAP, 0, 0))
        table.add_column(width=min(LONGEST_LABEL, room) if beside else INDENT)
        for width in widths:
            table.add_column(width=width, justify="right", no_wrap=True)
        indented = Padding(
            Text(label, overflow="fold"), (0, 0, 0, INDENT)
        )  # FAD[judge] is no markup
        if label and not beside:
            shown.append(indented)
        table.add_row(indented if beside else "", *map(Text, figures))
        shown.append(table)
    return Group(*shown)


def _figures(row: Measurement) -> tuple[str, ...]:
    """Value, interval, both ends and clips without units."""
    unit = "share" if row.unit == "share" else ""
    value = format_value(row.value, unit) if math.isfinite(row.value) else NOTHING
    return (
        f"{value} {ARROWS[row.better][0]}".rstrip(),
        format_interval(row.interval, unit),
        format_end(row.good_end, unit),
        format_end(row.bad_end, unit),
        str(row.n_clips),
    )


def _label(row: Measurement) -> str:
    """Metric, system and unit, as short as tells rows of a family apart."""
    name = parse_name(row.name)
    known = name.metric in SHORT_NAMES or name.family in SHORT_NAMES
    unit = "" if row.unit in ("", "share") else f", {row.unit}"
    system = f", {name.source.short}" if name.system else ""
    return f"{name.short if known else row.title}{system}{unit}"


def _ends(rows: Sequence[Measurement]) -> list[str]:
    """What the floor and the ceiling of a family are: in a line if all its figures share them."""
    said: dict[str, list[str]] = {}
    for row in rows:
        ends = (("floor", row.good_end_is), ("ceiling", row.bad_end_is))
        line = ", ".join(f"{end}: {what}" for end, what in ends if what)
        if line:
            said.setdefault(line, []).append(_label(row))
    if len(said) == 1:
        return list(said)
    return [f"{', '.join(labels)} – {line}" for line, labels in said.items()]


def print_codec_tables(results: Mapping[str, Any]) -> None:
    """Spread, rate-distortion curve, codebooks and faulty clips, from metrics.json."""
    titles = {
        "spread": "Spread over clips",
        "rate": "Rate and distortion",
        "codebooks": "Codebooks",
    }
    for name, (columns, rows) in codec_tables(results).items():
        table = Table(title=titles[name])
        for number, column in enumerate(columns):
            table.add_column(column, justify="right" if number else "left")
        for row in rows:
            table.add_row(*row)
        Console().print(table)


def print_faults(results: Mapping[str, Any]) -> None:
    """Clips that are silent, short, odd or could not be read, by name, from metrics.json."""
    for sentence in fault_sentences(results["faults"]):
        Console().print(Text(sentence))
