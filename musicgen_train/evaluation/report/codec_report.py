"""The parts of the report that only a codec's evaluation has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from musicgen_train.evaluation.report.codec_plots import plot_codebooks, plot_rate_distortion
from musicgen_train.evaluation.report.number_text import NOTHING, format_value

MAX_ROWS = 200  # files in the table; metrics.json has all
SPREAD_COLUMNS = ("Distance", "Mean", "95 % of the mean", "Median", "Std", "Clips")
CURVE_COLUMNS = (
    "Codebooks", "Nominal, kbit/s", "Entropy, kbit/s", "Mel ↓", "STFT ↓", "SI-SDR, dB ↑",
    "Loudness, LU",
)  # fmt: skip
CODEBOOK_COLUMNS = ("Codebook", "Entries used", "Perplexity", "Entropy, bits")
FEW_FRAMES = 10  # codes per entry below which an entropy is more a bound than an estimate


def codec_sections(evaluation_dir: Path, report: Path, results: Mapping[str, Any]) -> Any:
    """Tables and pictures for the template; None if no codec was evaluated."""
    if "rate_distortion" not in results:
        return None
    curve, codebooks, files = (results[k] for k in ("rate_distortion", "codebooks", "files"))
    pictures = {name: f"plots/{name}.png" for name in ("rate_distortion", "codebooks")}
    with np.load(evaluation_dir / "code_counts.npz", allow_pickle=False) as stored:
        counts = stored["counts"]
    (report / "plots").mkdir(parents=True, exist_ok=True)
    plot_rate_distortion(curve, report / pictures["rate_distortion"])
    plot_codebooks(counts, codebooks, report / pictures["codebooks"])
    return {
        "pictures": pictures,
        "tables": codec_tables(results),
        "card": counts.shape[1],
        "frames": int(counts[0].sum()),
        "few_frames": bool(counts[0].sum() < FEW_FRAMES * counts.shape[1]),
        "files": [_file_row(row) for row in files[:MAX_ROWS]],
        "n_files": len(files),
    }


def codec_tables(results: Mapping[str, Any]) -> dict[str, tuple[Sequence[str], list[list[str]]]]:
    """Titles of columns, and cells: spread over clips, rate-distortion curve, codebooks."""
    return {
        "spread": (
            SPREAD_COLUMNS,
            [_spread_row(row) for row in results["metrics"] if "median" in row["others"]],
        ),
        "rate": (CURVE_COLUMNS, [_curve_row(row) for row in results["rate_distortion"]]),
        "codebooks": (CODEBOOK_COLUMNS, [_codebook_row(row) for row in results["codebooks"]]),
    }


def fidelity_note(found: Mapping[str, float | None]) -> str:
    """The figures of one clip in a line."""
    said = zip(("mel", "STFT", "SI-SDR", "loudness"), _distances(found), strict=True)
    units = {"SI-SDR": " dB", "loudness": " LU"}
    return " · ".join(
        f"{name} {value}{units.get(name, '') if value != NOTHING else ''}" for name, value in said
    )


def _distances(row: Mapping[str, float | None]) -> list[str]:
    """Mel, STFT, SI-SDR in dB, loudness in LU."""
    formats = {"mel_distance": ".2f", "stft_distance": ".2f", "si_sdr": ".1f",
               "loudness_difference": "+.1f"}  # fmt: skip
    return [
        NOTHING if (value := row[name]) is None else format(value, spec)
        for name, spec in formats.items()
    ]


def _spread_row(row: Mapping[str, Any]) -> list[str]:
    def shown(name: str) -> str:
        return format_value(row["others"].get(name), "") if name in row["others"] else NOTHING

    ends = row["interval"] or ()
    interval = " to ".join(format_value(end, "") for end in ends) or NOTHING
    value = format_value(row["value"], row["unit"])
    return [row["title"], value, interval, shown("median"), shown("std"), str(row["n_clips"])]


def _curve_row(row: Mapping[str, Any]) -> list[str]:
    rates = [f"{row[name] / 1000:.2f}" for name in ("bitrate", "entropy_bitrate")]
    return [str(row["n_q"]), *rates, *_distances(row)]


def _codebook_row(row: Mapping[str, Any]) -> list[str]:
    return [
        str(row["codebook"]),
        f"{100 * row['usage']:.0f} %",
        format_value(row["perplexity"], ""),
        f"{row['entropy']:.2f}",
    ]


def _file_row(row: Mapping[str, Any]) -> dict[str, Any]:
    mean: Sequence[float] = row["perplexity"]
    return {
        "name": row["name"],
        "note": row["undefined"],
        "cells": [
            f"{row['duration']:.1f}",
            *_distances(row),
            format_value(sum(mean) / len(mean), ""),
            f"{row['entropy_bitrate'] / 1000:.2f}",
        ],
    }
