"""Pictures of a codec's evaluation: the rate-distortion curve and the use of its codebooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_train.evaluation.report.plots import (
    BLUE,
    GREY,
    ORANGE,
    new_figure,
    save_figure,
    soften,
)

PANELS = {
    "mel_distance": "mel distance ↓",
    "stft_distance": "STFT distance ↓",
    "si_sdr": "SI-SDR in dB ↑",
}


def plot_rate_distortion(table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Each distance over bits per second, a point for each number of codebooks."""
    figure = new_figure(10.4, 2.7)
    for axes, (name, title) in zip(figure.subplots(1, len(PANELS)), PANELS.items(), strict=True):
        rows = [row for row in table if row[name] is not None]
        values = [row[name] for row in rows]
        for rate, color, marker, label in (
            ("entropy_bitrate", ORANGE, "o", "entropy"),
            ("bitrate", BLUE, "s", "nominal"),
        ):
            rates = [row[rate] / 1000 for row in rows]
            axes.plot(rates, values, color=color, marker=marker, ms=4, lw=1.3, label=label)
        for row, value in zip(rows, values, strict=True):
            axes.annotate(
                str(row["n_q"]), (row["bitrate"] / 1000, value), fontsize=7, color=GREY,
                xytext=(4, -10 if name == "si_sdr" else 4), textcoords="offset points",
            )  # fmt: skip
        axes.set_title(title, fontsize=9, color=GREY)
        axes.set_xlabel("kbit/s", fontsize=8, color=GREY)
        axes.margins(x=0.08, y=0.14)
        axes.grid(color=GREY, alpha=0.2, lw=0.6)
        if rows:
            axes.legend(fontsize=7, frameon=False, labelcolor=GREY)
        soften(axes)
    figure.tight_layout(pad=0.8)
    save_figure(figure, path)


def plot_codebooks(counts: np.ndarray, table: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Counts [K, card]: how much of each codebook is used, and how unevenly."""
    from matplotlib import colormaps

    figure = new_figure(10.4, 2.9)
    bars, ranks = figure.subplots(1, 2)
    n_q, card = counts.shape
    places = np.arange(1, n_q + 1)
    bars.bar(places - 0.2, [100 * row["usage"] for row in table], 0.38, color=BLUE, label="used")
    effective = [100 * row["perplexity"] / card for row in table]
    bars.bar(places + 0.2, effective, 0.38, color=ORANGE, label="perplexity")
    bars.set_ylim(0, 100)
    bars.set_xticks(places[:: max(1, n_q // 8)])
    bars.set_title(f"% of the {card} entries", fontsize=9, color=GREY)
    bars.set_xlabel("codebook", fontsize=8, color=GREY)
    for k, row in enumerate(counts):
        shares = np.sort(row)[::-1] / row.sum()
        color = colormaps["plasma"](0.1 + 0.75 * k / max(1, n_q - 1))
        name = f"codebook {k + 1}" if k in (0, n_q - 1) or n_q <= 4 else None
        ranks.plot(np.arange(1, card + 1), 100 * shares, color=color, lw=1.3, label=name)
    ranks.axhline(100 / card, color=GREY, lw=0.8, ls=":", label="all equally often")
    ranks.set_yscale("log")
    ranks.set_title("% of codes by entry, most frequent first", fontsize=9, color=GREY)
    ranks.set_xlabel("rank of the entry", fontsize=8, color=GREY)
    for axes in (bars, ranks):
        axes.legend(fontsize=7, frameon=False, labelcolor=GREY)
        axes.grid(color=GREY, alpha=0.2, lw=0.6)
        soften(axes)
    figure.tight_layout(pad=0.8)
    save_figure(figure, path)
