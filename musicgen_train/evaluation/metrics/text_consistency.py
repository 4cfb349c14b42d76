"""Does a listener hear in a clip what its text asked for?"""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

from torch import Tensor


class Consistency(NamedTuple):
    """What one clip says of one thing asked for, such as the instrument."""

    heard: bool  # the most probable label is one that was asked for
    probability: float  # of all labels that were asked for


def text_consistency(log_probabilities: Tensor, asked: Collection[int]) -> Consistency:
    """Compare what is heard, log-probabilities [L], with the labels that fit what was asked."""
    n_labels = len(log_probabilities)
    assert asked and set(asked) <= set(range(n_labels)), (asked, n_labels)
    probability = float(log_probabilities[list(asked)].exp().sum())
    return Consistency(int(log_probabilities.argmax()) in asked, probability)
