"""The results of a test as JSON, as tables on the terminal, and as the page shows them."""

from __future__ import annotations

import json
from collections.abc import Collection
from pathlib import Path
from typing import Any

from musicgen_train.evaluation.listening_test.questions import HIGHEST, LOWEST, QUESTIONS
from musicgen_train.evaluation.listening_test.ratings import RatingsFile
from musicgen_train.evaluation.listening_test.summary import summarise


def results(ratings: RatingsFile, systems: Collection[str] = ()) -> dict[str, Any]:
    """The summary of a file of ratings, of all systems in it or of some."""
    read = ratings.read()
    kept = [row for row in read.ratings if not systems or row.system in systems]
    found = summarise(kept)
    others = sorted({row.system for row in read.ratings} - {row.system for row in kept})
    if others:
        left_out = len(read.ratings) - len(kept)
        found["notes"].append(f"{left_out} ratings of {', '.join(others)} are left out.")
    return {**found, "ratings": str(ratings.path), "faults": read.faults}


def results_page(found: dict[str, Any]) -> dict[str, Any]:
    """What the template of the page takes."""
    return {
        "counted": counted(found),
        "notes": [*found["notes"], *found["faults"]],
        "view": results_view(found),
        "steady": steady_sentences(found),
    }


def results_view(found: dict[str, Any]) -> list[dict[str, Any]]:
    """Per question what a reader sees: figures as text, and where bars begin and end in percent."""
    return [
        {
            "title": QUESTIONS[key].title,
            "systems": [
                {
                    "name": name,
                    "mean": with_interval(row["mean"], row["interval"]),
                    "at": _percent(row["mean"]),
                    "from": _percent((row["interval"] or [row["mean"]])[0]),
                    "to": _percent((row["interval"] or [row["mean"]])[-1]),
                    **{n: row[n] for n in ("n_ratings", "n_listeners", "n_prompts")},
                }
                for name, row in question["systems"].items()
            ],
            "pairs": [
                {
                    "title": f"{pair['first']} > {pair['second']}",
                    "preferred": with_interval(
                        pair["preferred"], pair["preferred_interval"], ".0f", scale=100, unit=" %"
                    ),
                    "counts": f"{pair['wins']}/{pair['ties']}/{pair['losses']}",
                    "difference": with_interval(
                        pair["difference"], pair["difference_interval"], "+.1f"
                    ),
                    "p": p_value(pair["sign_test_p"]),
                }
                for pair in question["pairs"]
            ],
        }
        for key, question in found["questions"].items()
    ]


def steady_sentences(found: dict[str, Any]) -> list[str]:
    """How alike each listener's ratings of the same clip were."""
    return [
        f"{listener}: {plural(row['n_pairs'], 'rating')} given twice, "
        f"{row['mean_difference']:.1f} points apart on average."
        for listener, row in found["steadiness"].items()
    ]


def with_interval(
    mean: float, interval: Any, form: str = ".1f", scale: float = 1, unit: str = ""
) -> str:
    """71.3 (64.0 to 78.2)"""
    value = f"{scale * mean:{form}}{unit}"
    if interval is None:
        return f"{value} (no interval)"
    low, high = (f"{scale * end:{form}}" for end in interval)
    return f"{value} ({low} to {high})"


def p_value(p: float | None) -> str:
    """Short, and never 0."""
    if p is None:
        return "–"
    return "< 0.001" if p < 0.001 else f"{p:.3f}"


def counted(found: dict[str, Any]) -> str:
    """One line of what there is."""
    ratings, prompts, listeners = (
        plural(found[f"n_{noun}s"], noun) for noun in ("rating", "prompt", "listener")
    )
    return f"{ratings} of {prompts} by {listeners}"


def plural(n: int, noun: str) -> str:
    """1 prompt, 2 prompts"""
    return f"{n} {noun}" if n == 1 else f"{n} {noun}s"


def print_results(found: dict[str, Any]) -> None:
    """Tables on the terminal, and what to be wary of."""
    from rich.console import Console
    from rich.table import Table
    from rich.text import Text

    console = Console()
    console.print(Text(counted(found)))
    for question in results_view(found):
        means = Table(title=f"{question['title']}, {LOWEST} to {HIGHEST}", title_justify="left")
        means.add_column("system", overflow="fold")
        for column in ("mean (95 % interval)", "ratings", "listeners", "prompts"):
            means.add_column(column, no_wrap=True)
        for row in question["systems"]:
            shown = ("name", "mean", "n_ratings", "n_listeners", "n_prompts")
            means.add_row(*(Text(str(row[column])) for column in shown))
        console.print(means)
        if not question["pairs"]:
            continue
        pairs = Table(title=f"{question['title']}, in pairs", title_justify="left")
        pairs.add_column("pair", overflow="fold")
        for column in ("preferred", "won/tied/lost", "difference", "sign p"):
            pairs.add_column(column, no_wrap=True)
        for row in question["pairs"]:
            shown = ("preferred", "counts", "difference", "p")
            pairs.add_row(*(Text(text) for text in (row["title"], *(row[key] for key in shown))))
        console.print(pairs)
    for sentence in [*steady_sentences(found), *found["notes"], *found["faults"]]:
        console.print(Text(sentence))


def write_results(found: dict[str, Any], path: Path) -> None:
    """Write the summary as JSON."""
    from musicgen_train.whole_files import replacing, writing

    with writing(path), replacing(path) as partial:
        partial.write_text(json.dumps(found, indent=2) + "\n")


def _percent(rating: float) -> float:
    return round(100 * (rating - LOWEST) / (HIGHEST - LOWEST), 1)
