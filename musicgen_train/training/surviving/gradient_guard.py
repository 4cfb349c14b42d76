"""Steps whose gradient is no number, or far too large, are left out; too many end the run."""

import math
import statistics
import sys
from collections import deque
from typing import Any

import lightning as L
import torch
from torch import Tensor
from torch.distributed.tensor import DTensor
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer

from musicgen_train.errors import UserError

RECENT = 100  # steps that bad ones are counted in, and that norms are compared with
ENOUGH = 50  # norms to compare with
NAMED = 32  # samples of a bad step


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
        self._keys: list[str] = []  # of this batch
        self._losses: list[tuple[list[str], Tensor]] = []  # of this step's batches, with their keys

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        self._keys = batch.keys

    def on_before_backward(
        self, trainer: L.Trainer, pl_module: L.LightningModule, loss: Tensor
    ) -> None:
        self._losses.append((self._keys, loss.detach()))

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
        self._losses = []

    def is_bad(self, norm: float) -> bool:
        """Whether a step of this gradient should not be made."""
        if not math.isfinite(norm):
            return True
        if self.factor is None or len(self._norms) < ENOUGH:
            return False
        return norm > self.factor * statistics.median(self._norms)

    def _tell(self, trainer: L.Trainer, norm: float) -> None:
        keys = self._suspects(trainer)
        where = f"step {trainer.global_step}: train/grad_norm is {norm:g}"
        if sum(self._bad) >= self.limit:
            raise UserError(
                f"{where}, the last of {sum(self._bad)} bad steps among {len(self._bad)}: lower "
                f"optim.lr, look for broken music (lately {keys}), and go on with resume=auto from "
                "the last checkpoint"
            )
        if trainer.is_global_zero:
            print(f"{where}: skipped, of {keys}", file=sys.stderr, flush=True)

    def _suspects(self, trainer: L.Trainer) -> str:
        """Samples of this step on all ranks: of batches whose loss is no number, or else of all."""
        own = [(keys, bool(loss.isfinite())) for keys, loss in self._losses]
        found: list[Any] = [own]
        if trainer.world_size > 1:  # all ranks are here, as all decide alike
            found = [None] * trainer.world_size
            torch.distributed.all_gather_object(found, own)
        batches = [batch for rank in found for batch in rank]
        broken = [keys for keys, finite in batches if not finite] or [keys for keys, _ in batches]
        names = list(dict.fromkeys(key for keys in broken for key in keys))
        more = f" and {len(names) - NAMED} more" if len(names) > NAMED else ""
        return ", ".join(names[:NAMED]) + more

    def state_dict(self) -> dict[str, Any]:
        return {"norms": list(self._norms), "bad": list(self._bad), "skipped": self.skipped}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._norms = deque(state_dict["norms"], maxlen=RECENT)
        self._bad = deque(state_dict["bad"], maxlen=RECENT)
        self.skipped = state_dict["skipped"]


def _norm(gradients: list[Tensor]) -> float:
    """The norm of all gradients; of sharded ones that of the whole."""
    norm = get_total_norm(gradients)
    return float(norm.full_tensor() if isinstance(norm, DTensor) else norm)
