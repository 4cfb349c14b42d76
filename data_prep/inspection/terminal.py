"""The survey on the terminal: findings, tables, small bars."""

from rich.columns import Columns
from rich.console import Console, RenderableType
from rich.table import Table as Grid
from rich.text import Text

from data_prep.inspection.charts import Chart, music_charts, sound_charts, text_charts
from data_prep.inspection.findings import find
from data_prep.inspection.overview import (
    Table,
    codebook_table,
    duration_histogram,
    facts,
    failure_table,
    split_table,
    subtitle,
)
from data_prep.inspection.survey import Survey

_STYLES = {"poor": "red", "fair": "yellow", "good": "green"}
_BLOCKS = " ▁▂▃▄▅▆▇█"
_BAR_WIDTH = 16


def print_survey(survey: Survey, console: Console) -> None:
    """Print everything but the random samples. All texts go in as Text: none is markup."""
    console.print(Text(survey.name, style="bold"), Text(subtitle(survey)))
    summary = Grid.grid(padding=(0, 2))
    for what, how_much in facts(survey):
        summary.add_row(Text(what, style="dim"), Text(how_much))
    console.print(summary)
    for finding in find(survey):
        console.print(Text("● ", style=_STYLES[finding.grade]) + Text(finding.text))
    console.print()
    tables = [split_table(survey), codebook_table(survey), failure_table(survey)]
    for table in tables:
        if table is not None and table.rows:
            console.print(_grid(table))
    statistics = survey.statistics
    charts = text_charts(statistics) + music_charts(statistics)
    charts += sound_charts(statistics, duration_histogram(survey))
    for chart in charts:
        if chart.is_scale:
            console.print(_scale(chart))
    console.print(
        Columns([_kinds(chart) for chart in charts if not chart.is_scale], padding=(1, 3))
    )


def _grid(table: Table) -> RenderableType:
    grid = Grid(title=Text(table.title), caption=Text(table.note), title_justify="left",
                caption_justify="left")  # fmt: skip
    for number, column in enumerate(table.columns):
        is_text = number == 0 or column == "For example"
        grid.add_column(Text(column), justify="left" if is_text else "right", overflow="fold")
    for row in table.rows:
        grid.add_row(*map(Text, row))
    return grid


def _scale(chart: Chart) -> Text:
    """A histogram in one line, between the ends of its scale."""
    heights = [round(8 * (bar.given + bar.estimated) / 100) for bar in chart.bars]
    filled = [bar.given + bar.estimated > 0 for bar in chart.bars]
    line = "".join(_BLOCKS[max(h, int(any_))] for h, any_ in zip(heights, filled, strict=True))
    low, high = chart.bars[0].label.split(" to ")[0], chart.bars[-1].label.split(" to ")[1]
    text = Text.assemble((f"{chart.title:<22}", "bold"), f"{low:>5} ", (line, "cyan"), f" {high}  ")
    return text + Text(chart.note, style="dim")


def _kinds(chart: Chart) -> RenderableType:
    """Bars beside their labels; what was estimated from the audio is lighter."""
    grid = Grid.grid(padding=(0, 1))
    grid.title = Text(chart.title, style="bold")
    grid.title_justify = "left"
    for bar in chart.bars:
        given = round(_BAR_WIDTH * bar.given / 100)
        estimated = max(round(_BAR_WIDTH * (bar.given + bar.estimated) / 100), 1) - given
        drawn = Text("█" * given, style="cyan") + Text("▒" * estimated, style="cyan")
        grid.add_row(Text(bar.label), drawn, Text(bar.value))
    grid.caption = Text(chart.note + ("; ▒ estimated" if chart.has_estimates else ""), style="dim")
    grid.caption_justify = "left"
    return grid
