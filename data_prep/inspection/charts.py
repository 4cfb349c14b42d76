"""Statistics as charts that both the page and the terminal can draw."""

from typing import NamedTuple

from data_prep.inspection.counting import Histogram, Tally
from data_prep.inspection.statistics import Statistics
from data_prep.inspection.wording import counted, percent, shown

_MOST_ROWS = 12


class Bar(NamedTuple):
    """One bar; lengths are percentages of the chart's longest bar."""

    label: str
    value: str
    given: float
    estimated: float


class Chart(NamedTuple):
    """A titled row of bars: `is_scale` for bins of a scale, else kinds, the commonest first."""

    title: str
    bars: list[Bar]
    note: str
    is_scale: bool
    has_estimates: bool


def text_charts(statistics: Statistics) -> list[Chart]:
    """Lengths and commonest words of the descriptions."""
    n = statistics.present["description"]
    about = counted(len(statistics.descriptions), "different description")
    charts = [
        scale("Words in a description", statistics.n_words, about),
        kinds("Commonest words", statistics.words, n, "of the descriptions have it"),
    ]
    return [chart for chart in charts if chart.bars]


def music_charts(statistics: Statistics) -> list[Chart]:
    """Genre, moods, instrument, key, tempo and artists."""
    titles = {"genre": "Genre", "moods": "Moods", "instrument": "Instruments", "key": "Key"}
    charts = []
    for name, title in titles.items():
        chart = kinds(title, statistics.listed[name], statistics.n, "of the segments")
        charts.append(_noted(chart, statistics, name))
    charts.append(_noted(scale("Tempo, bpm", statistics.bpm), statistics, "bpm"))
    artists = kinds("Artists", statistics.top_artists, statistics.n, "of the segments")
    charts.append(_noted(artists, statistics, "artist"))
    return [chart for chart in charts if chart.bars]


def sound_charts(statistics: Statistics, durations: Histogram) -> list[Chart]:
    """Loudness, silence and durations of the segments."""
    silent = counted(statistics.n_silent, "silent segment")
    charts = [
        scale("Loudness, LUFS", statistics.loudness, silent if statistics.n_silent else ""),
        scale("Share of silence", statistics.silence),
        scale("Duration, s", durations),
    ]
    return [chart for chart in charts if chart.bars]


def kinds(title: str, tally: Tally, n: int, what: str) -> Chart:
    """The commonest texts of a tally; shares are of n."""
    top = tally.top(_MOST_ROWS)
    longest = max((count for _, count, _ in top), default=1)
    bars = [
        Bar(
            shown(text, 40),
            percent(count / max(n, 1)),
            100 * (count - estimated) / longest,
            100 * estimated / longest,
        )
        for text, count, estimated in top
    ]
    others = len(tally.counts) - len(top)
    note = what + (f"; {others:,} others" if others > 0 else "")
    if tally.forgotten:
        note += f", {tally.forgotten:,} rare ones not counted"
    return Chart(title, bars, note, False, bool(sum(bar.estimated for bar in bars)))


def scale(title: str, histogram: Histogram, note: str = "") -> Chart:
    """The bins from the first to the last that hold something."""
    bins = histogram.bins()
    if not bins:
        return Chart(title, [], note, True, False)
    longest = max(times for _, _, times, _ in bins)
    bars = [
        Bar(
            f"{low:g} to {high:g}",
            f"{times:,}",
            100 * (times - estimated) / longest,
            100 * estimated / longest,
        )
        for low, high, times, estimated in bins
    ]
    middle = f"median {_short(histogram.quantile(0.5))}, nine tenths between "
    middle += f"{_short(histogram.quantile(0.05))} and {_short(histogram.quantile(0.95))}"
    note = f"{middle}; {note}" if note else middle
    return Chart(title, bars, note, True, bool(histogram.estimated.any()))


def _short(value: float) -> str:
    """-16.43 -> "-16.4", 120.0 -> "120", 0.271 -> "0.27"."""
    return f"{round(value, 2 if abs(value) < 2 else 1):g}"


def _noted(chart: Chart, statistics: Statistics, field: str) -> Chart:
    missing = statistics.missing(field)
    return chart._replace(note=f"{chart.note}; {percent(missing)} have none") if missing else chart
