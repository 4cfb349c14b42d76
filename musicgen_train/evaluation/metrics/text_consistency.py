"""Does a listener hear the instrument and the genre that the text asked for?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from torch import Tensor


class Consistency(NamedTuple):
    """Shares over the clips whose wanted label the listener knows."""

    accuracy: float  # the wanted label is the most probable one
    probability: float  # mean probability of the wanted label
    n_clips: int
    n_unknown: int  # clips whose wanted label is absent or outside the listener's vocabulary


def text_consistency(
    log_probabilities: Tensor, wanted: Sequence[str | None], labels: Sequence[str]
) -> Consistency:
    """Compare what is heard, log-probabilities [n, L] over `labels`, with what was asked for."""
    assert log_probabilities.shape == (len(wanted), len(labels)), log_probabilities.shape
    position = {label: index for index, label in enumerate(labels)}
    known = [(row, position[label]) for row, label in enumerate(wanted) if label in position]
    if not known:
        return Consistency(float("nan"), float("nan"), 0, len(wanted))
    rows, targets = zip(*known, strict=True)
    heard = log_probabilities[list(rows)]
    hits = sum(int(heard[i].argmax()) == target for i, target in enumerate(targets))
    probability = sum(float(heard[i, target].exp()) for i, target in enumerate(targets))
    n = len(known)
    return Consistency(hits / n, probability / n, n, len(wanted) - n)
