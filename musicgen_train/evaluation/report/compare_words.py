"""A comparison of runs in words, for the page and for the terminal."""

from __future__ import annotations

from typing import Any

from rich.console import Console
from rich.text import Text

from musicgen_train.evaluation.report.families import parse_name
from musicgen_train.evaluation.report.metric_tables import ARROWS
from musicgen_train.evaluation.report.number_text import format_interval, format_value
from musicgen_train.evaluation.report.run_comparison import (
    MetricComparison,
    Paired,
    RunComparison,
)
from musicgen_train.evaluation.report.terminal import aligned

COLUMNS = ("value", "95 %", "clips")


def summary_lines(compared: RunComparison) -> list[tuple[str, list[str]]]:
    """(verdict, metrics of which it holds), the clear ones first."""
    found: dict[str, list[str]] = {}
    for metric in sorted(compared.metrics, key=lambda metric: not metric.best):
        if metric.verdict:
            found.setdefault(metric.verdict, []).append(metric_title(metric.name))
    return list(found.items())


def print_comparison(compared: RunComparison, console: Console | None = None) -> None:
    """Every metric with a line for each run, why some are not compared, and clip by clip."""
    console = console or Console()
    figures = [_figures(metric) for metric in compared.metrics]
    every = [COLUMNS, *(line for lines in figures for _, line in lines)]
    widths = [max(map(len, column)) for column in zip(*every, strict=True)]
    console.print(aligned(widths, console.width, [("", COLUMNS)]), style="bold")
    for metric, lines in zip(compared.metrics, figures, strict=True):
        title = Text(f"{metric_title(metric.name)} {_arrow(metric)}".strip(), style="bold")
        verdict = f": {metric.verdict}" if metric.verdict else ""
        console.print(title.append(verdict, style="green" if metric.best else "not bold"))
        console.print(aligned(widths, console.width, lines))
    if compared.paired:
        console.print(Text("Clip by clip, on the same prompts", style="bold"))
        lines = [_paired_line(paired_row(pair, compared)) for pair in compared.paired]
        widths = [max(map(len, column)) for column in zip(*(f for _, f in lines), strict=True)]
        console.print(aligned(widths, console.width, lines))
    for line in [*difference_lines(compared), *compared.notes]:
        console.print(Text(line, style="yellow"))


def difference_lines(compared: RunComparison) -> list[str]:
    """Why numbers are not compared: once each, with the metrics that it holds of."""
    found: dict[tuple[str, str], list[str]] = {}
    for metric in compared.metrics:
        for run, differences in metric.differences.items():
            for difference in differences:
                if difference.serious:
                    found.setdefault((run, str(difference)), []).append(metric.name)
    return [
        f"! {run} is not comparable in {', '.join(names)}: {what}"
        for (run, what), names in found.items()
    ]


def metric_title(name: str) -> str:
    """Metric, and which music of a run it is of, if it has several."""
    parsed = parse_name(name)
    return f"{parsed.short}, {parsed.source.short}" if parsed.system else parsed.short


def paired_row(pair: Paired, compared: RunComparison) -> dict[str, Any]:
    """A difference clip by clip as text."""
    metric = next(metric for metric in compared.metrics if metric.name == pair.metric)
    row = metric.rows[pair.first]
    scale, unit = (100, "points") if row.unit == "share" else (1, row.unit)
    interval = pair.interval and [scale * end for end in pair.interval]
    sign = "+" if pair.difference > 0 else ""
    return {
        "metric": metric_title(pair.metric),
        "arrow": _arrow(metric),
        "pair": f"{pair.second} less {pair.first}",
        "difference": f"{sign}{format_value(scale * pair.difference, unit)}",
        "interval": format_interval(interval, ""),
        "n_clips": pair.n_clips,
        "verdict": pair.verdict,
        "clear": pair.verdict.endswith(" better"),
    }


def _paired_line(row: dict[str, Any]) -> tuple[str, tuple[str, ...]]:
    label = f"{row['metric']}, {row['pair']}: {row['verdict']}"
    return label, (row["difference"], row["interval"], str(row["n_clips"]))


def _figures(metric: MetricComparison) -> list[tuple[str, tuple[str, ...]]]:
    """(run, value and interval and clips)."""
    return [
        (
            f"{run} *" if run == metric.best else run,
            (
                format_value(row.value, row.unit),
                format_interval(row.interval, row.unit),
                str(row.n_clips),
            ),
        )
        for run, row in metric.rows.items()
    ]


def _arrow(metric: MetricComparison) -> str:
    return ARROWS[next(iter(metric.rows.values())).better][0]
