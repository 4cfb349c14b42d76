"""Does a clip sound like its text: by CLAP, and by what the judge hears in it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.clap_score import clap_scores
from musicgen_train.evaluation.metrics.kl import clip_log_probabilities
from musicgen_train.evaluation.metrics.text_consistency import text_consistency
from musicgen_train.evaluation.scoring.means import mean_over_clips

if TYPE_CHECKING:
    from musicgen_train.evaluation.embedders.clap import ClapEmbedder

HEADS = ("instrument", "genre")


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


def judged_text_measurements(comparison: Comparison, judge: JudgeEmbedder) -> list[Measurement]:
    """Share of the clips in which the judge hears the instrument and the genre asked for."""
    return [
        _judged(comparison, judge, system, head)
        for system in comparison.systems
        if system.heard is not comparison.round_trip
        for head in HEADS
    ]


def _judged(comparison: Comparison, judge: JudgeEmbedder, system: System, head: str) -> Measurement:
    labels = judge.judge.labels[head]
    wanted = {name: comparison.prompt(name).wanted.get(head) for name in system.heard.names}
    known = [name for name, label in wanted.items() if label in labels]

    def share(heard: HeardSet, pairs: Sequence[tuple[str, str]]) -> float:
        """Of the clips named first in which the label of the second is heard."""
        kept = [(a, b) for a, b in pairs if a in heard]
        texts = [wanted[b] for _, b in kept]
        return text_consistency(_said(judge, heard, head, [a for a, _ in kept]), texts, labels)[0]

    own = [(name, name) for name in known]
    said = _said(judge, system.heard, head, known)
    each = [text_consistency(said[i : i + 1], [wanted[n]], labels) for i, n in enumerate(known)]
    suffix, remark = (".with_melody", " (text and melody)") if system.with_melody else ("", "")
    others = {"chance": 1 / len(labels)}
    others["mean probability"] = float(np.mean([found.probability for found in each] or [np.nan]))
    for title, heard in (("through the codec", comparison.round_trip),
                         ("untrained", comparison.ceiling)):  # fmt: skip
        if heard is not None:
            others[title] = share(heard, own)
    return mean_over_clips(
        f"text.{head}{suffix}",
        f"{head.capitalize()} heard as asked{remark}",
        {name: found.accuracy for name, found in zip(known, each, strict=True)},
        "higher",
        comparison,
        {
            n: f"no {head} that the judge knows"
            for n, label in wanted.items()
            if label not in labels
        },
        unit="share",
        good_end=share(comparison.pairs, own),
        good_end_is="real music of these texts",
        bad_end=share(system.heard, comparison.shuffled(known)),
        bad_end_is="texts of other tracks",
        others=others,
        settings={**judge.protocol(), "labels": "mean of the windows' probabilities"},
    )


def _said(judge: JudgeEmbedder, heard: HeardSet, head: str, names: Sequence[str]) -> Tensor:
    """Log-probabilities [n, labels] of the clips."""
    rows = [
        clip_log_probabilities(torch.from_numpy(heard.arrays(judge, name)[f"logits.{head}"]))
        for name in names
    ]
    return torch.stack(rows) if rows else torch.zeros(0, len(judge.judge.labels[head]))
