"""How clips are rated by a model of listeners' taste, beside the real clips."""

from __future__ import annotations

import numpy as np

from musicgen_train.evaluation.comparison import Comparison
from musicgen_train.evaluation.embedders.aesthetics import AXES
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.scoring.means import mean_over_clips

TITLES = {
    "CE": "Content enjoyment",
    "CU": "Content usefulness",
    "PC": "Production complexity",
    "PQ": "Production quality",
}


def aesthetics_measurements(comparison: Comparison, rater: Embedder) -> list[Measurement]:
    """Mean of each axis over the clips of every system; the real clips are the good end."""
    rows = []
    for system in comparison.systems:
        for place, axis in enumerate(AXES):
            found = _ratings(system.heard, rater, place)
            real = _ratings(comparison.pairs, rater, place)
            rows.append(
                mean_over_clips(
                    ".".join(filter(None, ("aesthetics", axis, system.name))),
                    f"{TITLES[axis]} as rated by Audiobox, {system.title}",
                    found,
                    "higher",
                    comparison,
                    {},
                    good_end=sum(real.values()) / len(real),
                    good_end_is="real music",
                    settings=rater.protocol(),
                )
            )
    return rows


def _ratings(heard: HeardSet, rater: Embedder, place: int) -> dict[str, float]:
    """Mean over the windows of each clip, by how much of each is sound and not padding."""
    found = {}
    for name in heard.names:
        arrays = heard.arrays(rater, name)
        found[name] = float(np.average(arrays["scores"][:, place], weights=arrays["weights"]))
    return found
