"""Pictures of metrics: values with intervals between both ends, and histograms over clips."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.plots import (
    BLUE,
    GREY,
    ORANGE,
    new_figure,
    save_figure,
    soften,
)

GREEN, RED, PURPLE, TEAL = "#22a06b", "#e5484d", "#a855f7", "#0ea5a5"
COLORS = (BLUE, ORANGE, PURPLE, TEAL)
MOST_BINS = 40
LABEL_LENGTH = 34


class Panel(NamedTuple):
    """One axis of figures that share a scale."""

    title: str
    rows: Mapping[str, Measurement]  # label -> figure


class Mark(NamedTuple):
    """An end of a metric's scale."""

    at: float
    what: str
    color: str


def end_marks(row: Measurement) -> list[Mark]:
    """Floor in green, ceiling in red, as far as they exist."""
    ends = ((row.good_end, row.good_end_is, GREEN), (row.bad_end, row.bad_end_is, RED))
    return [
        Mark(at, what, color) for at, what, color in ends if at is not None and math.isfinite(at)
    ]


def plot_dots(panels: Sequence[Panel], path: Path) -> None:
    """A dot with its interval for each figure, between floor (green) and ceiling (red)."""
    heights = [0.62 + 0.27 * len(panel.rows) for panel in panels]
    figure = new_figure(6.4, sum(heights))
    grid = figure.subplots(len(panels), 1, squeeze=False, height_ratios=heights)
    for axes, panel in zip(grid.flat, panels, strict=True):
        for place, row in enumerate(panel.rows.values()):
            _draw_row(axes, place, row)
        labels = [_short(label) for label in panel.rows]
        axes.set_yticks(range(len(labels)), labels)
        axes.set_ylim(len(labels) - 0.4, -0.6)
        axes.margins(x=0.06)
        axes.grid(axis="x", color=GREY, alpha=0.2, lw=0.6)
        axes.set_title(panel.title, fontsize=8.5, color=GREY, loc="left", pad=4)
        soften(axes)
        axes.tick_params(axis="y", length=0, labelsize=8)
        axes.spines[["top", "right", "left"]].set_visible(False)
    figure.tight_layout(pad=0.5, h_pad=0.9)
    save_figure(figure, path)


def has_dots(row: Measurement) -> bool:
    """Whether there is a dot to draw."""
    return math.isfinite(row.value)


def plot_histogram(
    values: Mapping[str, Sequence[float]], marks: Sequence[Mark], unit: str, path: Path
) -> None:
    """How a metric's values spread over clips, a colour a system with its mean as a line."""
    figure = new_figure(6.4, 2.3)
    axes = figure.subplots()
    scale = 100 if unit == "share" else 1
    drawn = {name: scale * np.asarray(found, float) for name, found in values.items()}
    every = np.concatenate(list(drawn.values()))
    n_bins = min(MOST_BINS, max(5, round(2 * len(every) ** (1 / 2) / len(drawn))))
    bins = np.histogram_bin_edges(every, n_bins)
    for color, (name, found) in zip(COLORS * len(drawn), drawn.items(), strict=False):
        axes.hist(found, bins, color=color, alpha=0.35, label=_short(name))  # type: ignore[arg-type]
        axes.hist(found, bins, color=color, histtype="step", lw=1.2)  # type: ignore[arg-type]
        axes.axvline(found.mean(), color=color, lw=1.8)
    for mark in marks:
        axes.axvline(scale * mark.at, color=mark.color, lw=1.4, ls=":", label=_short(mark.what))
    axes.set_ylabel("clips", fontsize=8, color=GREY)
    axes.set_xlabel("%" if unit == "share" else unit, fontsize=8, color=GREY)
    axes.locator_params(axis="y", integer=True)
    axes.legend(
        fontsize=7, frameon=False, labelcolor=GREY, ncols=2, loc="lower left",
        bbox_to_anchor=(0, 1), borderaxespad=0.2,
    )  # fmt: skip
    axes.grid(axis="y", color=GREY, alpha=0.2, lw=0.6)
    soften(axes)
    axes.spines[["top", "right"]].set_visible(False)
    figure.tight_layout(pad=0.5)
    save_figure(figure, path)


def _draw_row(axes: Any, place: int, row: Measurement) -> None:
    """One line of a panel; an interval of a bias-free estimate may lie beside its dot."""
    scale = 100 if row.unit == "share" else 1
    marks = end_marks(row)
    if len(marks) == 2:
        between = [scale * mark.at for mark in marks]
        axes.plot(between, [place] * 2, color=GREY, alpha=0.45, lw=1, zorder=1)
    for mark in marks:
        axes.plot(scale * mark.at, place, "|", color=mark.color, ms=9, mew=2, zorder=2)
    if row.interval is not None and all(map(math.isfinite, row.interval)):
        low, high = row.interval
        axes.plot(
            [scale * low, scale * high], [place] * 2, color=BLUE, alpha=0.55, lw=5, zorder=3,
            solid_capstyle="butt",
        )  # fmt: skip
    axes.plot(scale * row.value, place, "o", color=BLUE, ms=5, zorder=4)


def _short(label: str) -> str:
    return label if len(label) <= LABEL_LENGTH else f"{label[: LABEL_LENGTH - 1]}…"
