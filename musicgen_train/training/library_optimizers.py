"""pytorch_optimizer's optimizers, with what the guard, resuming and fused matrices ask of them.

Theirs count a step and let their averages decay even where no parameter has a gradient, leave
numbers of their groups on the device that a checkpoint was read to, and see a fused matrix as one.
"""

from collections.abc import Callable
from typing import Any, cast

import pytorch_optimizer
import torch
from pytorch_optimizer.optimizer.muon.base import get_adjusted_lr
from torch import Tensor
from torch.distributed.tensor import DTensor, Replicate
from torch.optim import Optimizer


class _Careful(Optimizer):
    """No gradients: no step; and a loaded state is where its parameters are."""

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        if any(p.grad is not None for group in self.param_groups for p in group["params"]):
            super().step()
        return loss

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        super().load_state_dict(state_dict)
        for group in self.param_groups:
            for key, value in group.items():
                if isinstance(value, Tensor):
                    group[key] = value.to(group["params"][0].device)


class Prodigy(_Careful, pytorch_optimizer.Prodigy):
    """Prodigy (Mishchenko & Defazio 2023)."""


class DAdaptAdam(_Careful, pytorch_optimizer.DAdaptAdam):
    """Adam with D-Adaptation (Defazio & Mishchenko 2023)."""


class Muon(_Careful, pytorch_optimizer.Muon):
    """Muon (Jordan et al. 2024), which takes a fused matrix for the `n_blocks` that it holds.

    Its groups have `use_muon`, and `n_blocks`: how many matrices lie one below the other in each.
    """

    @staticmethod
    def _orthogonalize(group: dict[str, Any], updates: list[Tensor]) -> list[Tensor]:
        """Orthogonalize every block alone: [n_blocks * R, C] each -> the same shapes."""
        n = group["n_blocks"]
        if n == 1:
            return pytorch_optimizer.Muon._orthogonalize(group, updates)
        # Rows of a block may lie on several ranks.
        blocks = [block for update in updates for block in _gathered(update).chunk(n)]
        done = pytorch_optimizer.Muon._orthogonalize(group, blocks)
        rates = [
            get_adjusted_lr(1.0, shape, use_adjusted_lr=group["use_adjusted_lr"])
            for shape in (blocks[0].shape, updates[0].shape)
        ]
        ratio = rates[0] / rates[1]  # the library scales by the fused shape
        fused = [torch.cat(done[i : i + n]) for i in range(0, len(done), n)]
        return [ratio * update.to(updates[0].dtype) for update in fused]


def _gathered(update: Tensor) -> Tensor:
    """All rows of a sharded matrix on every rank, in the precision that Muon goes on with."""
    if not isinstance(update, DTensor):
        return update
    everywhere = [Replicate()] * update.device_mesh.ndim
    return DTensor.redistribute(cast(DTensor, update.to(torch.bfloat16)), placements=everywhere)
