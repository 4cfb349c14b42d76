"""A set of clips as the judge hears it, and the scores between two such sets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from musicgen_train.evaluation.clips import Clip
from musicgen_train.evaluation.embedders.judge import Judge, judge_identity
from musicgen_train.evaluation.embedders.judge_features import (
    HOP_DURATION,
    MAX_GAIN,
    SAMPLE_RATE,
    TARGET_RMS,
    WINDOW_DURATION,
)
from musicgen_train.evaluation.metrics.frechet import GaussianStatistics, frechet_distance
from musicgen_train.evaluation.metrics.kl import multi_head_kl

STYLE_HEADS = ("instrument", "genre", "tempo")  # what a text asks for; the key is free


@dataclass
class Judged:
    """Embedding statistics over windows and label distributions over clips."""

    statistics: GaussianStatistics
    log_probabilities: dict[str, Tensor]  # head -> [n_clips, labels]
    labels: dict[str, list[str]]

    @property
    def n_clips(self) -> int:
        return len(next(iter(self.log_probabilities.values())))

    def top_labels(self, clip: int) -> dict[str, str]:
        """The most probable label of each style head for one clip."""
        return {
            head: self.labels[head][int(self.log_probabilities[head][clip].argmax())]
            for head in STYLE_HEADS
        }

    @property
    def n_vectors(self) -> int:
        return self.statistics.n


def judge_clips(judge: Judge, clips: Iterable[Clip]) -> Judged:
    """Hear each clip once; memory does not grow with the number of windows."""
    statistics: GaussianStatistics | None = None
    heard: dict[str, list[Tensor]] = {head: [] for head in judge.labels}
    for clip in clips:
        hearing = judge.listen(clip.wav, clip.sample_rate)
        block = GaussianStatistics.of(hearing.embeddings)
        statistics = statistics.merge(block) if statistics else block
        for head, values in hearing.log_probabilities().items():
            heard[head].append(values)
    if statistics is None:
        raise ValueError("no clips to judge: the set is empty")
    stacked = {head: torch.stack(rows) for head, rows in heard.items()}
    return Judged(statistics, stacked, judge.labels)


def judged_fad(a: Judged, b: Judged) -> float:
    """Fréchet distance over the judge's window embeddings."""
    return frechet_distance(a.statistics, b.statistics)


def judged_kl(
    reference: Judged, generated: Judged, pairs: Sequence[tuple[int, int]] | None = None
) -> float:
    """Mean KL(ref‖gen) over pairs of clips and style heads; clip i with clip i unless told."""
    first, second = zip(*(pairs or [(i, i) for i in range(reference.n_clips)]), strict=True)
    per_pair = multi_head_kl(
        {head: reference.log_probabilities[head][list(first)] for head in STYLE_HEADS},
        {head: generated.log_probabilities[head][list(second)] for head in STYLE_HEADS},
    )
    return float(per_pair.mean())


def judge_protocol(judge: Judge) -> dict[str, object]:
    """The protocol of every number that the judge takes part in."""
    return {
        "embedder": f"judge {judge_identity(judge)}",
        "sample_rate": SAMPLE_RATE,
        "window_duration": WINDOW_DURATION,
        "hop_duration": HOP_DURATION,
        "channels": "mean",
        "resampler": "soxr HQ",
        "normalisation": f"RMS {TARGET_RMS} over the clip, gain at most {MAX_GAIN}, on all sides",
        "covariance": "float64, ddof 1, over windows",
        "labels": "mean of the windows' probabilities",
    }
