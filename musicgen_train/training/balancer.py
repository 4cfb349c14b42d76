"""Gradient balancer (Défossez et al. 2022, eq. 6): loss weights become shares of the gradient."""

import torch
from torch import Tensor, nn


class Balancer(nn.Module):
    """Scale each loss's gradient at the model's output to its weight's share of `total_norm`.

    Gradient norms are taken per batch item and smoothed by an exponential average, which is part
    of the state, so that a resumed run balances as the straight one.
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

    def forward(self, losses: dict[str, Tensor], output: Tensor) -> Tensor:
        """A scalar whose gradient at `output` [B, C, N] is the balanced sum of the losses' own."""
        if set(losses) != set(self.weights):
            raise ValueError(f"losses {sorted(losses)} for weights {sorted(self.weights)}")
        balanced = torch.zeros_like(output)
        weight_sum = sum(self.weights.values())
        for i, (name, weight) in enumerate(self.weights.items()):
            (grad,) = torch.autograd.grad(losses[name], [output], retain_graph=True)
            norm = grad.flatten(1).norm(dim=1).mean()
            self.totals[i] = self.totals[i] * self.ema_decay + norm
            self.fixes[i] = self.fixes[i] * self.ema_decay + 1
            average = self.totals[i] / self.fixes[i]
            share = self.total_norm * weight / weight_sum
            balanced += grad * (share / (self.epsilon + average))
        return (output * balanced).sum()
