"""What the ratings say: means and preferences with intervals that know who rated what."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from musicgen_train.evaluation.listening_test.questions import QUESTIONS
from musicgen_train.evaluation.listening_test.ratings import Rating

DRAWS = 2000
FEW_PROMPTS, FEW_LISTENERS = 20, 5  # below, an interval is told to be rough


def summarise(ratings: Iterable[Rating]) -> dict[str, Any]:
    """Plain values: per question the systems' means and pairs, and what to be wary of.

    Where a listener had a prompt twice, the mean of both ratings is one rating.
    """
    rows = list(ratings)
    listeners = sorted({row.listener for row in rows})
    names = sorted({row.name for row in rows})
    systems = sorted({row.system for row in rows})
    asked = {row.question for row in rows}
    return {
        "n_ratings": len(rows),
        "n_listeners": len(listeners),
        "n_prompts": len(names),
        "systems": systems,
        "questions": {
            key: _question([row for row in rows if row.question == key], systems)
            for key in QUESTIONS
            if key in asked
        },
        "steadiness": steadiness(rows),
        "notes": _notes(rows, len(listeners), len(names)),
    }


def interval(values: np.ndarray) -> tuple[float, float] | None:
    """95 % interval of the mean of values [listeners, prompts]; NaN is where nobody rated.

    Percentile bootstrap that draws listeners and prompts, each with replacement, and weights a
    rating by how often both of its were drawn (Owen 2007, "The pigeonhole bootstrap"), expanded for
    their small numbers (Hesterberg 2015, "What teachers should know about the bootstrap"). With one
    listener only prompts are drawn, and the other way round.
    """
    values = values[~np.isnan(values).all(1)][:, ~np.isnan(values).all(0)]
    if values.size < 2:
        return None
    rng = np.random.default_rng(0)
    by_listener, by_prompt = (_drawn(rng, n) for n in values.shape)
    means = _drawn_means(values, by_listener, by_prompt)
    # How much of the spread is due to which, for the fewer of both may matter less.
    variances = (
        float(_drawn_means(values, by_listener, np.ones_like(by_prompt)).var()),
        float(_drawn_means(values, np.ones_like(by_listener), by_prompt).var()),
    )
    low, high = np.quantile(means, _tails(variances, values.shape))
    return float(low), float(high)


def sign_test(differences: Sequence[float]) -> float | None:
    """Two-sided p of as uneven a number of signs, if both were as likely; ties say nothing."""
    above = sum(value > 0 for value in differences)
    n = above + sum(value < 0 for value in differences)
    if not n:
        return None
    tail = sum(math.comb(n, k) for k in range(max(above, n - above), n + 1))
    return min(1.0, 2 * tail / 2**n)


def steadiness(rows: Iterable[Rating]) -> dict[str, dict[str, float]]:
    """By listener: how far the ratings of a prompt that came twice lie apart, in points."""
    both: dict[tuple, dict[int, int]] = {}
    for row in rows:
        both.setdefault((row.listener, row.name, row.system, row.question), {})[row.repeat] = (
            row.rating
        )
    apart: dict[str, list[int]] = {}
    for (listener, *_), given in both.items():
        if len(given) == 2:
            apart.setdefault(listener, []).append(abs(given[0] - given[1]))
    return {
        listener: {"mean_difference": float(np.mean(found)), "n_pairs": len(found)}
        for listener, found in sorted(apart.items())
    }


def _question(rows: list[Rating], systems: list[str]) -> dict[str, Any]:
    """The systems from best to worst, and every pair of them."""
    tables = _tables(rows)
    ordered = sorted(tables, key=lambda system: -float(np.nanmean(tables[system])))
    pairs = [
        _pair(first, second, tables[first] - tables[second])
        for i, first in enumerate(ordered)
        for second in ordered[i + 1 :]
    ]
    return {
        "systems": {system: _system(tables[system]) for system in ordered},
        "pairs": [pair for pair in pairs if pair["n_comparisons"]],
    }


def _tables(rows: list[Rating]) -> dict[str, np.ndarray]:
    """Ratings [listeners, prompts] of each system, NaN where there is none."""
    listeners = {name: i for i, name in enumerate(sorted({row.listener for row in rows}))}
    names = {name: i for i, name in enumerate(sorted({row.name for row in rows}))}
    shape = (len(listeners), len(names))
    sums = {row.system: np.zeros(shape) for row in rows}
    counts = {system: np.zeros(shape) for system in sums}
    for row in rows:
        place = listeners[row.listener], names[row.name]
        sums[row.system][place] += row.rating
        counts[row.system][place] += 1
    return {
        system: np.divide(sums[system], count, out=np.full(shape, np.nan), where=count > 0)
        for system, count in counts.items()
    }


def _system(table: np.ndarray) -> dict[str, Any]:
    rated = ~np.isnan(table)
    return {
        "mean": float(np.nanmean(table)),
        "interval": interval(table),
        "n_ratings": int(rated.sum()),
        "n_listeners": int(rated.any(1).sum()),
        "n_prompts": int(rated.any(0).sum()),
    }


def _pair(first: str, second: str, differences: np.ndarray) -> dict[str, Any]:
    """How often and by how much the first was rated above the second [listeners, prompts]."""
    found = differences[~np.isnan(differences)]
    if not len(found):
        return {"n_comparisons": 0}
    # A tie is half a preference for each.
    preferred = np.where(np.isnan(differences), np.nan, (np.sign(differences) + 1) / 2)
    by_prompt = [
        float(np.nanmean(column)) for column in differences.T if not np.isnan(column).all()
    ]
    return {
        "first": first,
        "second": second,
        "difference": float(found.mean()),
        "difference_interval": interval(differences),
        "preferred": float(np.nanmean(preferred)),
        "preferred_interval": interval(preferred),
        "wins": int((found > 0).sum()),
        "ties": int((found == 0).sum()),
        "losses": int((found < 0).sum()),
        "n_comparisons": len(found),
        "sign_test_p": sign_test(by_prompt),
    }


def _drawn_means(values: np.ndarray, by_listener: np.ndarray, by_prompt: np.ndarray) -> np.ndarray:
    """Weighted means of values [listeners, prompts] in every draw in which anything was rated."""
    given = ~np.isnan(values)
    sums = (by_listener @ np.where(given, values, 0.0) * by_prompt).sum(1)
    counts = (by_listener @ given * by_prompt).sum(1)
    return sums[counts > 0] / counts[counts > 0]


def _tails(variances: Sequence[float], shape: Sequence[int]) -> tuple[float, float]:
    """The quantiles of the draws between which 95 % lie, by the degrees of freedom there are.

    Those are Satterthwaite's, of the sum of a variance over listeners and one over prompts.
    """
    from scipy.stats import norm, t

    parts = sum(
        variance**2 / (n - 1) for variance, n in zip(variances, shape, strict=True) if n > 1
    )
    if not parts:
        return 0.025, 0.975
    freedom = sum(variances) ** 2 / parts
    tail = float(norm.cdf(-math.sqrt((freedom + 1) / freedom) * t.ppf(0.975, freedom)))
    return tail, 1 - tail


def _drawn(rng: np.random.Generator, n: int) -> np.ndarray:
    """How often each of n was drawn, by draw [DRAWS, n]; a single one always is."""
    return np.ones((DRAWS, 1)) if n == 1 else rng.multinomial(n, np.full(n, 1 / n), DRAWS)


def _notes(rows: list[Rating], n_listeners: int, n_prompts: int) -> list[str]:
    if not rows:
        return ["There are no ratings yet."]
    notes = []
    if n_listeners == 1:
        notes.append("One listener: the intervals speak of other prompts, not of other people.")
    elif n_listeners < FEW_LISTENERS:
        notes.append(
            f"Only {n_listeners} listeners: the intervals are rough; ask {FEW_LISTENERS} or more."
        )
    if n_prompts == 1:
        notes.append("One prompt: nothing can be said of others.")
    elif n_prompts < FEW_PROMPTS:
        notes.append(
            f"Only {n_prompts} prompts: too few to tell small differences; "
            f"use {FEW_PROMPTS} or more."
        )
    return notes
