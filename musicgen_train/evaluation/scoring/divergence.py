"""Is the same heard in a clip as in the real clip of its name: KL between label distributions."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import torch
from torch import Tensor

from musicgen_train.evaluation.comparison import Comparison, System
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.heard_set import HeardSet
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.metrics.intervals import bootstrap_mean
from musicgen_train.evaluation.metrics.kl import (
    AUDIOCRAFT_EPSILON,
    clip_log_probabilities,
    kl_audiocraft,
    kl_audiocraft_of_clips,
    multi_head_kl,
)
from musicgen_train.evaluation.scoring.means import mean_over_clips, unpaired

PREFIX = "logits"
Labels = dict[str, dict[str, Tensor]]  # clip -> head -> log-probabilities [L]


def divergence_measurements(
    comparison: Comparison, tagger: Embedder, compat: bool
) -> list[Measurement]:
    """KL(real‖system) of what is heard, for every system.

    Exact and of each clip as a whole; compat: audiocraft's, over windows, of one set of labels.
    """
    if compat:
        return [_measure_windows(comparison, tagger, system) for system in comparison.systems]
    real = _labels(comparison.pairs, tagger)
    trip = comparison.round_trip and _labels(comparison.round_trip, tagger)
    untrained = comparison.ceiling and _labels(comparison.ceiling, tagger)
    return [
        _measure(comparison, tagger, system, real, trip, untrained)
        for system in comparison.systems
        if system.heard is not comparison.round_trip
    ]


def _measure(
    comparison: Comparison,
    tagger: Embedder,
    system: System,
    real: Labels,
    trip: Labels | None,
    untrained: Labels | None,
) -> Measurement:
    ours = _labels(system.heard, tagger)
    names, missing = comparison.common(system.heard, comparison.pairs)
    deaf = [name for name in names if name not in ours or name not in real]
    names = [name for name in names if name in ours and name in real]
    own = [(name, name) for name in names]
    shuffled = comparison.shuffled(names)
    others = {"reversed": _mean(ours, real, own)}
    if untrained:
        others["untrained"] = _mean(real, untrained, [p for p in own if p[1] in untrained])
    good = _mean(real, trip, [p for p in own if p[1] in trip]) if trip else 0.0
    dropped = unpaired(missing, system.heard.title, comparison.pairs.title)
    return mean_over_clips(
        ".".join(filter(None, ("kl", tagger.name, system.name))),
        f"KL[{tagger.name}], {system.title}",
        dict(zip(names, _divergences(real, ours, own).tolist(), strict=True)),
        "lower",
        comparison,
        dropped | dict.fromkeys(deaf, "shorter than one window"),
        unit="nats",
        good_end=good,
        good_end_is="real music through the codec" if trip else "the same clip",
        bad_end=_mean(real, ours, shuffled) if shuffled else None,
        bad_end_is="clips of other tracks" if shuffled else "",
        others=others,
        settings={
            **tagger.protocol(),
            "direction": "KL(ref||gen)",
            "clip": "mean of the windows' probabilities, by their lengths",
            "heads": sorted(next(iter(real.values()), {})),
        },
    )


def _measure_windows(comparison: Comparison, tagger: Embedder, system: System) -> Measurement:
    names, missing = comparison.common(system.heard, comparison.pairs)

    def logits(heard: HeardSet, name: str) -> Tensor:
        return torch.from_numpy(heard.arrays(tagger, name)[PREFIX])

    def pairs(of: Sequence[tuple[str, str]]) -> Iterator[tuple[Tensor, Tensor]]:
        for real, ours in of:
            yield logits(comparison.pairs, real), logits(system.heard, ours)

    own = [(name, name) for name in names]
    windows = {
        name: kl_audiocraft(a[: len(b)], b[: len(a)])
        for name, (a, b) in zip(names, pairs(own), strict=True)
    }
    mean = kl_audiocraft_of_clips(pairs(own))
    shuffled = comparison.shuffled(names)
    row = mean_over_clips(
        ".".join(filter(None, ("kl", tagger.name, system.name))),
        f"KL[{tagger.name}], {system.title}",
        {name: float(found.mean()) for name, found in windows.items()},
        "lower",
        comparison,
        unpaired(missing, system.heard.title, comparison.pairs.title),
        unit="nats",
        n_vectors=mean.windows,
        good_end=0.0,
        good_end_is="the same clip (-5e-4 with this epsilon)",
        bad_end=kl_audiocraft_of_clips(pairs(shuffled)).forward if shuffled else None,
        bad_end_is="clips of other tracks" if shuffled else "",
        others={"reversed": mean.reverse, "both": mean.forward + mean.reverse},
        settings={
            **tagger.protocol(),
            "direction": "KL(ref||gen)",
            "mean": "over windows, each clip as often as it has windows",
            "epsilon": AUDIOCRAFT_EPSILON,
        },
    )
    row.value = mean.forward
    each = [(value, comparison.track(name)) for name in names for value in windows[name].tolist()]
    row.interval = bootstrap_mean([value for value, _ in each], [track for _, track in each])
    return row


def _labels(heard: HeardSet, tagger: Embedder) -> Labels:
    """Label distributions of the clips that have a window."""
    found: Labels = {}
    for name in heard.names:
        arrays = heard.arrays(tagger, name)
        heads = {head: arrays[head] for head in arrays if head.startswith(PREFIX)}
        weights = torch.from_numpy(arrays["weights"]) if "weights" in arrays else None
        if all(map(len, heads.values())):
            found[name] = {
                head.removeprefix(PREFIX).lstrip(".") or tagger.name: clip_log_probabilities(
                    torch.from_numpy(logits), weights
                )
                for head, logits in heads.items()
            }
    return found


def _divergences(a: Labels, b: Labels, pairs: Sequence[tuple[str, str]]) -> Tensor:
    """KL(a‖b) of each pair of names [n], averaged over the heads."""
    if not pairs:
        return torch.zeros(0, dtype=torch.float64)
    heads = a[pairs[0][0]]
    return multi_head_kl(
        {head: torch.stack([a[i][head] for i, _ in pairs]) for head in heads},
        {head: torch.stack([b[j][head] for _, j in pairs]) for head in heads},
    )


def _mean(a: Labels, b: Labels, pairs: Sequence[tuple[str, str]]) -> float:
    found = _divergences(a, b, pairs)
    return float(found.mean()) if len(found) else float("nan")
