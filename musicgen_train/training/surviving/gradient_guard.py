"""Steps whose gradient is no number, or far too large, are left out; too many end the run."""

import math
import statistics
import sys
from collections import deque
from typing import Any

import lightning as L
import torch
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from musicgen_train.errors import UserError

RECENT = 100  # steps that bad ones are counted in, and that norms are compared with
ENOUGH = 50  # norms to compare with


class GradientGuard(L.Callback):
    """Log the gradient's norm, before clipping, and skip the step if it is bad.

    Bad is what is not finite, or above `factor` times the median of the last 100 norms (None: never
    that). A skipped step leaves weights and optimizer as they are; schedule and data go on. The run
    ends when `limit` of the last 100 steps were bad. Averaged or sharded, gradients have the same
    norm on every rank, so that all decide alike; a resumed run decides as the straight one.
    """

    def __init__(self, factor: float | None = 10.0, limit: int = 20):
        if (factor is not None and factor <= 1) or not 1 <= limit <= RECENT:
            raise UserError(
                f"callbacks.guard has factor {factor} and limit {limit}: use more than 1 (or null) "
                f"and 1 to {RECENT}"
            )
        self.factor = factor
        self.limit = limit
        self.skipped = 0
        self._norms: deque[float] = deque(maxlen=RECENT)
        self._bad: deque[bool] = deque(maxlen=RECENT)
        self._keys: list[str] = []  # of the batches of this step

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._keys += batch.keys

    def on_before_optimizer_step(
        self, trainer: L.Trainer, pl_module: L.LightningModule, optimizer: Optimizer
    ) -> None:
        parameters = [p for group in optimizer.param_groups for p in group["params"]]
        norm = _norm([p.grad for p in parameters if p.grad is not None])
        bad = self.is_bad(norm)
        self._bad.append(bad)
        if math.isfinite(norm):
            self._norms.append(norm)
        pl_module.log("train/grad_norm", norm)
        if bad:
            self.skipped += 1
            for parameter in parameters:
                parameter.grad = None
            self._tell(trainer, norm)
        pl_module.log("train/skipped", float(self.skipped))
        self._keys = []

    def is_bad(self, norm: float) -> bool:
        """Whether a step of this gradient should not be made."""
        if not math.isfinite(norm):
            return True
        if self.factor is None or len(self._norms) < ENOUGH:
            return False
        return norm > self.factor * statistics.median(self._norms)

    def _tell(self, trainer: L.Trainer, norm: float) -> None:
        found: list[Any] = [self._keys]
        if trainer.world_size > 1:  # all ranks are here, as all decide alike
            found = [None] * trainer.world_size
            torch.distributed.all_gather_object(found, self._keys)
        every = [key for keys in found for key in keys]
        keys = ", ".join(every[:16]) + (", …" if len(every) > 16 else "")
        where = f"step {trainer.global_step}: train/grad_norm is {norm:g}"
        if sum(self._bad) >= self.limit:
            raise UserError(
                f"{where}, the last of {sum(self._bad)} bad steps among {len(self._bad)}: lower "
                f"optim.lr, look for broken music (lately {keys}), and go on with resume=auto from "
                "the last checkpoint"
            )
        if trainer.is_global_zero:
            print(f"{where}: skipped, of {keys}", file=sys.stderr, flush=True)

    def state_dict(self) -> dict[str, Any]:
        return {"norms": list(self._norms), "bad": list(self._bad), "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._norms = deque(state_dict["norms"], maxlen=RECENT)
        self._bad = deque(state_dict["bad"], maxlen=RECENT)
        self.skipped = state_dict["skipped"]


def _norm(gradients: list[torch.Tensor]) -> float:
    """The norm of all gradients; of sharded ones that of the whole."""
    norm = get_total_norm(gradients)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
