"""Long pieces on the page: how they change over time, and what they sound like."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.gallery import Gallery
from musicgen_train.evaluation.report.metric_plots import Mark, end_marks
from musicgen_train.evaluation.report.number_text import format_value
from musicgen_train.evaluation.report.plots import BLUE, GREY, new_figure, save_figure, soften

KIND = "long"
SHOWN_LABELS = ("instrument", "genre", "tempo")


class Curve(NamedTuple):
    """One axis of the picture: what is drawn of every part."""

    title: str
    key: str
    scale: float = 1.0
    marks: Sequence[Mark] = ()


def long_form_section(
    results: Mapping[str, Any], rows: Sequence[Measurement], gallery: Gallery
) -> dict[str, Any] | None:
    """Picture and players of the long pieces; None if there are none."""
    pieces = results.get("long_form") or []
    if not pieces:
        return None
    picture = Path(gallery.page_dir, "plots", "long_form.png")
    drift = next((row for row in rows if row.name == "long_form.drift"), None)
    plot_pieces(pieces, end_marks(drift) if drift else [], picture)
    return {
        "picture": gallery.url(picture),
        "duration": f"{pieces[0]['parts'][-1]['end']:g} s",
        "pieces": [_shown(piece, gallery) for piece in pieces],
    }


def plot_pieces(pieces: Sequence[Mapping[str, Any]], marks: Sequence[Mark], path: Path) -> None:
    """Curves over time, thin for each piece and thick for their mean; the middle is dotted."""
    curves = [
        Curve("heard as asked (%)", "heard", 100.0),
        Curve("distance from the first quarter, as the judge hears it", "distance", 1.0, marks),
        Curve("level (dBFS)", "level"),
    ]
    curves = [c for c in curves if np.isfinite(_values(pieces, c)).any()]
    figure = new_figure(9.0, 1.5 * len(curves) + 0.3)
    grid = figure.subplots(len(curves), 1, squeeze=False, sharex=True)
    for axes, curve in zip(grid.flat, curves, strict=True):
        _draw(axes, pieces, curve)
    grid.flat[-1].set_xlabel("seconds", fontsize=8, color=GREY)
    figure.tight_layout(pad=0.5, h_pad=0.9)
    save_figure(figure, path)


def _draw(axes: Any, pieces: Sequence[Mapping[str, Any]], curve: Curve) -> None:
    parts, values = pieces[0]["parts"], _values(pieces, curve)
    times = [(part["start"] + part["end"]) / 2 for part in parts]
    for row in values:
        axes.plot(times, row, color=BLUE, alpha=0.3, lw=0.9)
    known = [column[np.isfinite(column)] for column in values.T]
    mean = [column.mean() if len(column) else math.nan for column in known]
    axes.plot(times, mean, color=BLUE, lw=2.2, marker="o", ms=3)
    for mark in curve.marks:
        axes.axhline(mark.at, color=mark.color, lw=1.2, ls="--")
        axes.annotate(
            mark.what, (1.0, mark.at), xycoords=("axes fraction", "data"), fontsize=7,
            color=mark.color, ha="right", va="bottom", xytext=(0, 2), textcoords="offset points",
        )  # fmt: skip
    axes.axvline(parts[-1]["end"] / 2, color=GREY, lw=0.9, ls=":")
    axes.set_xlim(0, parts[-1]["end"])
    if curve.key == "heard":
        axes.set_ylim(-5, 105)
    axes.margins(y=0.15)
    axes.set_title(curve.title, fontsize=8.5, color=GREY, loc="left", pad=4)
    axes.grid(color=GREY, alpha=0.2, lw=0.6)
    soften(axes)
    axes.spines[["top", "right"]].set_visible(False)


def _values(pieces: Sequence[Mapping[str, Any]], curve: Curve) -> np.ndarray:
    """[pieces, parts]; NaN where there is nothing to draw."""
    rows = [[part[curve.key] for part in piece["parts"]] for piece in pieces]
    found = np.array([[math.nan if v is None else v for v in row] for row in rows], float)
    return curve.scale * found


def _shown(piece: Mapping[str, Any], gallery: Gallery) -> dict[str, Any]:
    clip = {"key": piece["key"], "audio": {KIND: piece["audio"]}}
    first, last = piece["parts"][0], piece["parts"][-1]
    (version,) = gallery.versions(clip, [KIND], {}, pictured=last["end"])
    heard = [", ".join(part["labels"][head] for head in SHOWN_LABELS) for part in (first, last)]
    shares = [part["heard"] for part in piece["parts"]]
    return {
        "key": piece["key"],
        "text": piece["description"],
        "version": version,
        "first": heard[0],
        "last": heard[1],
        "heard": "" if None in shares else format_value(float(np.mean(shares)), "share"),
    }
