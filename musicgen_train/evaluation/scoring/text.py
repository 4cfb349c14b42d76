"""Does a clip sound like its text, as CLAP hears it?"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.clap_score import clap_scores
from musicgen_train.evaluation.scoring.means import mean_over_clips

if TYPE_CHECKING:
    from musicgen_train.evaluation.embedders.clap import ClapEmbedder


def clap_measurements(comparison: Comparison, clap: ClapEmbedder) -> list[Measurement]:
    """Mean cosine of a clip and its text for every system, the round trip of real music too."""
    named = [name for name, prompt in comparison.prompts.items() if prompt.text]
    said = clap.text_vectors([comparison.prompt(name).text for name in named])
    texts = dict(zip(named, said, strict=True))
    real = _own_cosines(comparison.pairs, clap, texts)
    return [_clap(comparison, clap, system, texts, real) for system in comparison.systems]


def _clap(
    comparison: Comparison,
    clap: ClapEmbedder,
    system: System,
    texts: Mapping[str, Tensor],
    real: Mapping[str, float],
) -> Measurement:
    found = _own_cosines(system.heard, clap, texts)
    others_said = [
        (a, b)
        for a, b in comparison.shuffled([*found])
        if comparison.prompt(a).text != comparison.prompt(b).text
    ]
    floor = _cosines(system.heard, clap, texts, others_said)
    others = {}
    if comparison.ceiling is not None:
        untrained = _own_cosines(comparison.ceiling, clap, texts)
        others["untrained"] = float(np.mean([*untrained.values()]))
    ours = [real[name] for name in found if name in real]
    return mean_over_clips(
        ".".join(filter(None, ("clap", system.name))),
        f"CLAP score, {system.title}",
        found,
        "higher",
        comparison,
        _without_partner(system.heard, texts),
        good_end=float(np.mean(ours)) if ours else None,
        good_end_is="real music of these texts" if ours else "",
        bad_end=float(np.mean(floor)) if floor else None,
        bad_end_is="texts of other tracks" if floor else "",
        others=others,
        settings={**clap.protocol(), "mean": "of the windows' cosines, then over clips"},
    )


def _without_partner(heard: HeardSet, texts: Mapping[str, Tensor]) -> dict[str, str]:
    """Clips without a text, and texts without a clip."""
    silent = {name: "has no text" for name in heard.names if name not in texts}
    lost = {name: heard.unreadable.get(name, "no such clip") for name in texts if name not in heard}
    return silent | lost


def _own_cosines(
    heard: HeardSet, clap: ClapEmbedder, texts: Mapping[str, Tensor]
) -> dict[str, float]:
    """The score of each clip that has a text, with it."""
    names = [name for name in heard.names if name in texts]
    found = _cosines(heard, clap, texts, [(name, name) for name in names])
    return dict(zip(names, found, strict=True))


def _cosines(
    heard: HeardSet,
    clap: ClapEmbedder,
    texts: Mapping[str, Tensor],
    pairs: Sequence[tuple[str, str]],
) -> list[float]:
    """The scores of the clips named first with the texts of those named second."""
    if not pairs:
        return []
    windows = [torch.from_numpy(heard.arrays(clap, clip)["vectors"]) for clip, _ in pairs]
    return clap_scores(windows, torch.stack([texts[text] for _, text in pairs])).tolist()
