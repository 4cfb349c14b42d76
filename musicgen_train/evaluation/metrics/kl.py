"""KL divergence between label distributions that the judge hears, exact in the log domain."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor


def clip_log_probabilities(window_logits: Tensor) -> Tensor:
    """Log of the mean label distribution of a clip's windows: logits [W, L] -> [L].

    Windows of two clips do not correspond in time, so a clip is described by the mixture of
    what its windows say. Averaging probabilities keeps doubt that averaging logits would hide.
    """
    log_probabilities = window_logits.double().log_softmax(-1)
    return log_probabilities.logsumexp(0) - math.log(window_logits.shape[0])


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
