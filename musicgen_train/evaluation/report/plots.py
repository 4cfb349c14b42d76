"""The report's pictures: transparent PNGs in colours that read on light and dark pages."""

from __future__ import annotations

import csv
import math
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from musicgen_train.evaluation.metrics.spectral_distance import log_mel

if TYPE_CHECKING:
    from matplotlib.figure import Figure

GREY = "#8b929c"
BLUE, ORANGE = "#3b82f6", "#f59e0b"
SILENCE, DRAWN_RANGE = math.log(1e-5), 9.2  # nats: the floor of a log-mel; 80 dB
PITCH_NAMES = ("C", "C♯", "D", "D♯", "E", "F", "F♯", "G", "G♯", "A", "A♯", "B")


def display_mel(wav: Tensor, sample_rate: int) -> Tensor:
    """Log-mel spectrogram of a clip [C, N] to look at, [bands, frames]."""
    return log_mel(torch.nan_to_num(wav.float()).mean(0), sample_rate, 1024, 80)


def brightest(mel: Tensor) -> float:
    """The level that is drawn lightest: the highest, unless silence would then not be black."""
    return max(float(mel.max()), SILENCE + DRAWN_RANGE)


def plot_spectrogram(mel: Tensor, top: float, path: Path) -> None:
    """A pixel a band and frame of a log-mel spectrogram, 80 dB up to `top` from dark to light."""
    from matplotlib.image import imsave

    path.parent.mkdir(parents=True, exist_ok=True)
    imsave(path, mel.numpy(), origin="lower", cmap="magma", vmin=top - DRAWN_RANGE, vmax=top)


def plot_chroma(asked: Tensor, heard: Tensor, path: Path) -> None:
    """Two chromagrams [F, 12], one above the other: the melody asked for and the one heard."""
    figure = new_figure(6.5, 1.9)
    rows = zip(figure.subplots(2, 1, sharex=True), (asked, heard), strict=True)
    for (axes, chroma), label in zip(
        rows, ("melody asked for", "heard in the result"), strict=True
    ):
        axes.imshow(chroma.float().T.numpy(), origin="lower", aspect="auto", cmap="viridis")
        axes.set_yticks(range(0, 12, 3), PITCH_NAMES[::3], fontsize=7)
        axes.set_title(label, fontsize=8, color=GREY, loc="left", pad=3)
        soften(axes)
    figure.axes[0].tick_params(bottom=False)
    figure.axes[1].tick_params(bottom=False, labelbottom=False)
    figure.tight_layout(pad=0.4)
    save_figure(figure, path)


def plot_curves(logs: Sequence[Path], path: Path, max_panels: int = 6) -> int:
    """Small multiples of Lightning CSV logs, training beside validation; returns the panels drawn.

    Columns that share a name after `train/` and `val/` (or `valid/`) share a panel.
    """
    panels = curve_panels(logs)
    chosen = sorted(panels.items(), key=lambda item: (-len(item[1]), item[0]))[:max_panels]
    if not chosen:
        return 0
    columns = min(3, len(chosen))
    rows = math.ceil(len(chosen) / columns)
    figure = new_figure(3.6 * columns, 2.2 * rows)
    grid = figure.subplots(rows, columns, squeeze=False)
    for axes in grid.flat[len(chosen) :]:
        axes.set_axis_off()
    for axes, (name, lines) in zip(grid.flat, chosen, strict=False):
        for split, points in sorted(lines.items()):
            style = {"color": BLUE, "lw": 1.1} if split == "train" else {"color": ORANGE, "lw": 1.8}
            marker = "o" if len(points) < 3 else None
            axes.plot(*zip(*points, strict=True), label=split, marker=marker, ms=4, **style)
        axes.set_title(name, fontsize=9, color=GREY)
        axes.legend(fontsize=7, frameon=False, labelcolor=GREY)
        axes.grid(color=GREY, alpha=0.2, lw=0.6)
        soften(axes)
    figure.tight_layout(pad=0.8)
    save_figure(figure, path)
    return len(chosen)


def curve_panels(logs: Sequence[Path]) -> dict[str, dict[str, list[tuple[float, float]]]]:
    """{quantity: {"train" | "valid": [(step, value), ...]}} of the logs of one run, in order.

    Where a resumed run repeats steps, its later log counts.
    """
    values: dict[tuple[str, str], dict[float, float]] = {}
    for log in logs:
        with log.open(newline="") as lines:
            for row in csv.DictReader(lines):
                for column, text in row.items():
                    split, _, name = (column or "").partition("/")
                    split = {"val": "valid"}.get(split, split)
                    if split in ("train", "valid") and text and row.get("step"):
                        values.setdefault((name, split), {})[float(row["step"])] = float(text)
    panels: dict[str, dict[str, list[tuple[float, float]]]] = {}
    for (name, split), points in values.items():
        finite = [(step, value) for step, value in sorted(points.items()) if math.isfinite(value)]
        if finite:
            panels.setdefault(name, {})[split] = finite
    return panels


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of so many inches that needs no display."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), dpi=130)
    FigureCanvasAgg(figure)
    return figure


def soften(axes: object) -> None:
    """Axes that can be read on white and on black."""
    axes.tick_params(colors=GREY, labelsize=7, length=2)  # type: ignore[attr-defined]
    axes.set_facecolor("none")  # type: ignore[attr-defined]
    for spine in axes.spines.values():  # type: ignore[attr-defined]
        spine.set_color(GREY)
        spine.set_linewidth(0.6)


def save_figure(figure: Figure, path: Path) -> None:
    """Write a PNG with a transparent background."""
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, transparent=True)
