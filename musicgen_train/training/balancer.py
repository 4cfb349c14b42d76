"""Gradient balancer (Défossez et al. 2022, eq. 6): loss weights become shares of the gradient."""

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.codec.ranks import n_ranks, sum_over_ranks
from musicgen_train.errors import UserError


class Balanced(NamedTuple):
    """What the balancer made of several losses."""

    loss: Tensor  # scalar; its gradient, mean over ranks, is the balanced sum of the losses' own
    norms: dict[str, Tensor]  # mean norm of each loss's own gradient, per batch item
    shares: dict[str, Tensor]  # of each loss in the balanced gradient; they sum to 1


def check_weights(name: str, weights: Any) -> None:
    """Refuse weights of losses that cannot be shares of a gradient."""
    numbers = list(weights.values()) if isinstance(weights, dict) else []
    real = all(type(w) in (int, float) and 0 <= w < math.inf for w in numbers)
    if not real or sum(numbers) == 0:
        raise UserError(f"{name} is {weights}: give losses numbers from 0 up, one of them above 0")


class Balancer(nn.Module):
    """Scale each loss's gradient at the model's output to its weight's share of `total_norm`.

    Gradient norms are taken per batch item, over all ranks, and smoothed by an exponential
    average, which is part of the state, so that a resumed run balances as the straight one. A loss
    that is absent from a step, as the adversarial ones are at first, keeps its average, and the
    others share the whole.
    """

    totals: Tensor
    fixes: Tensor

    def __init__(
        self,
        weights: dict[str, float],
        *,
        ema_decay: float = 0.999,
        total_norm: float = 1.0,
        epsilon: float = 1e-12,
    ):
        super().__init__()
        self.weights = dict(weights)
        self.ema_decay = ema_decay
        self.total_norm = total_norm
        self.epsilon = epsilon
        self.register_buffer("totals", torch.zeros(len(weights)))
        self.register_buffer("fixes", torch.zeros(len(weights)))

    def forward(self, losses: dict[str, Tensor], output: Tensor) -> Balanced:
        """Balance scalar losses at their common `output` [B, C, N]."""
        unknown = losses.keys() - self.weights.keys()
        assert losses and not unknown, f"losses {sorted(losses)} for weights {sorted(self.weights)}"
        balanced = torch.zeros_like(output)
        weight_sum = sum(self.weights[name] for name in losses)
        norms, scaled = {}, {}
        for i, (name, weight) in enumerate(self.weights.items()):
            if name not in losses:
                continue
            (grad,) = torch.autograd.grad(losses[name], [output], retain_graph=True)
            # Of the loss on all ranks' items: each rank's own is a mean over fewer of them.
            norms[name] = sum_over_ranks(grad.flatten(1).norm(dim=1).mean()) / n_ranks() ** 2
            self.totals[i] = self.totals[i] * self.ema_decay + norms[name]
            self.fixes[i] = self.fixes[i] * self.ema_decay + 1
            average = self.totals[i] / self.fixes[i]
            scale = self.total_norm * weight / weight_sum / (self.epsilon + average)
            balanced += grad * scale
            scaled[name] = norms[name] * scale
        total = torch.stack(list(scaled.values())).sum().clamp_min(self.epsilon)
        shares = {name: norm / total for name, norm in scaled.items()}
        return Balanced((output * balanced).sum(), norms, shares)
