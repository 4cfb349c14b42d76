"""KL divergence between label distributions that a judge or tagger hears.

Exact in the log domain, and beside it the one that audiocraft reports for MusicGen.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional

from musicgen_train.errors import UserError

AUDIOCRAFT_EPSILON = 1e-6


class WindowMean(NamedTuple):
    """Means over the windows of all clips, in nats; audiocraft's kld_both is their sum."""

    forward: float  # audiocraft's kld and kld_pq, KL(reference‖generated)
    reverse: float  # audiocraft's kld_qp
    windows: int


def clip_log_probabilities(window_logits: Tensor, weights: Tensor | None = None) -> Tensor:
    """Log of the mean label distribution of a clip's windows: logits [W, L] -> [L].

    weights: how much each window counts, [W], such as its length; all alike unless told.

    Windows of two clips do not correspond in time, so a clip is described by the mixture of
    what its windows say. Averaging probabilities keeps doubt that averaging logits would hide.
    """
    assert window_logits.shape[0], f"no windows: {tuple(window_logits.shape)}"
    log_probabilities = window_logits.double().log_softmax(-1)
    if weights is None:
        return log_probabilities.logsumexp(0) - math.log(window_logits.shape[0])
    shares = weights.double() / weights.double().sum()
    return (log_probabilities + shares.log()[:, None]).logsumexp(0)


def kl_divergence(log_p: Tensor, log_q: Tensor) -> Tensor:
    """KL(p‖q) in nats of normalised log-probabilities [..., L] -> [...]; never negative."""
    log_p, log_q = log_p.double(), log_q.double()
    terms = torch.where(log_p == -math.inf, 0.0, log_p.exp() * (log_p - log_q))
    return terms.sum(-1).clamp(min=0)


def multi_head_kl(reference: Mapping[str, Tensor], generated: Mapping[str, Tensor]) -> Tensor:
    """KL(reference‖generated) per clip, averaged over heads: {head: [n, L]} twice -> [n].

    Each head is a softmax of its own (instrument, genre, ...), so each gives a true divergence;
    their mean does not grow with the number of heads.
    """
    if reference.keys() != generated.keys():
        raise ValueError(f"label heads differ: {sorted(reference)} and {sorted(generated)}")
    heads = [kl_divergence(reference[head], generated[head]) for head in reference]
    return torch.stack(heads).mean(0)


def kl_audiocraft(reference_logits: Tensor, generated_logits: Tensor) -> Tensor:
    """audiocraft's KL(reference‖generated) of each pair of windows: logits [n, L] twice -> [n].

    A softmax of logits that were trained as independent labels, in float32, with an epsilon added
    to the generated side alone: two equal windows are about -L * 1e-6 apart, not 0.
    """
    assert reference_logits.shape == generated_logits.shape, (
        f"{tuple(reference_logits.shape)} and {tuple(generated_logits.shape)}"
    )
    reference = reference_logits.float().softmax(-1)
    generated = generated_logits.float().softmax(-1) + AUDIOCRAFT_EPSILON
    return functional.kl_div(generated.log(), reference, reduction="none").sum(-1)


def kl_audiocraft_of_clips(clips: Iterable[tuple[Tensor, Tensor]]) -> WindowMean:
    """audiocraft's figures for pairs of clips (reference [W, L], generated [W', L]) of logits.

    Each window counts once, so long clips count more. audiocraft hears both clips over the
    reference's length, so they have as many windows; where one has more, the first ones are paired.
    UserError if no clip has any.
    """
    forward, reverse, windows = 0.0, 0.0, 0
    for reference, generated in clips:
        n = min(reference.shape[0], generated.shape[0])
        reference, generated = reference[:n], generated[:n]
        forward += float(kl_audiocraft(reference, generated).double().sum())
        reverse += float(kl_audiocraft(generated, reference).double().sum())
        windows += n
    if not windows:
        raise UserError("kl: no pair of clips is longer than 0.15 s; give longer clips")
    return WindowMean(forward / windows, reverse / windows, windows)
