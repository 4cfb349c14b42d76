"""The figures of an evaluation as tables on the terminal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from rich.console import Console
from rich.table import Table
from rich.text import Text

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.codec_report import codec_tables
from musicgen_train.evaluation.report.verdicts import fault_sentences, format_value

ARROWS = {"lower": "↓", "higher": "↑", "neither": ""}


def print_measurements(rows: Sequence[Measurement]) -> None:
    """Every figure between both ends of its scale."""
    table = Table("metric", "value", "floor", "ceiling", "clips", title="Evaluation")
    for row in rows:
        ends = (
            "–" if end is None else f"{format_value(end, row.unit)} ({what})"
            for end, what in ((row.good_end, row.good_end_is), (row.bad_end, row.bad_end_is))
        )
        value = f"{format_value(row.value, row.unit)} {ARROWS[row.better]}"
        # Titles such as FAD[judge] are no markup.
        table.add_row(*map(Text, (row.title, value, *ends, str(row.n_clips))))
    Console().print(table)


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
    for sentence in fault_sentences(results["faults"]):
        Console().print(Text(sentence))
