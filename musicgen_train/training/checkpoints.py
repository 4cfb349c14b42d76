"""What checkpoints carry, and starting from the weights of another model."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
import yaml
from torch import Tensor, nn

from musicgen_train.errors import UserError


class ConfigRecord(L.Callback):
    """Put the resolved configuration beside the run and into its checkpoints.

    The file is written when training starts, so that a run refused before leaves its name free.
    """

    def __init__(self, config: dict[str, Any], path: Path):
        self.config = config
        self.path = path

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        if trainer.is_global_zero:
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(yaml.safe_dump(self.config, sort_keys=False))

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"] = self.config


class StepSeed(L.Callback):
    """Seed torch anew for every batch from (seed, batch, rank).

    Dropout and the revival of dead codes then repeat in a resumed run without any saved state.
    """

    def __init__(self, seed: int):
        self.seed = seed

    def on_train_batch_start(
        self, trainer: L.Trainer, pl_module: L.LightningModule, batch: Any, batch_idx: int
    ) -> None:
        # Rank 0 draws as a single process would: what it draws for all ranks stays the same.
        torch.manual_seed((trainer.global_rank << 48) + self.seed * 1_000_003 + batch_idx)


def check_resumable(path: Path, task: dict[str, Any]) -> None:
    """Refuse to resume from what is no checkpoint, or one of another model."""
    if not path.is_file():
        raise UserError(f"resume={path}: no such checkpoint")
    try:
        saved = torch.load(path, map_location="cpu", weights_only=True, mmap=True)
        theirs = saved["config"]["task"]
    except Exception as error:
        reason = str(error).splitlines()[0] if str(error) else type(error).__name__
        raise UserError(
            f"resume={path} is no checkpoint of train.py, or a damaged one ({reason}): "
            "take an earlier one"
        ) from None
    for name, wanted in _fixed(task).items():
        if _fixed(theirs)[name] != wanted:
            raise UserError(
                f"resume={path} was trained with another {name} than this run's: resume with its "
                "own settings, or take its exported weights with init_from"
            )


def _fixed(task: dict[str, Any]) -> dict[str, Any]:
    """What gives a checkpoint's tensors their meaning, and so cannot change on the way."""
    adversary = task.get("adversary") or {}
    return {
        **{name: task.get(name) for name in ("_target_", "codec", "lm", "text_encoder", "chroma")},
        "set of losses": list(task.get("weights") or []),
        "discriminator": adversary.get("discriminator"),
        "choice about ema_decay": task.get("ema_decay") is None,
    }


def load_partially(module: nn.Module, weights: dict[str, Tensor]) -> str:
    """Copy every weight whose name and shape fit; return what was taken, left and missing."""
    own = module.state_dict()
    fitting = {k: v for k, v in weights.items() if k in own and own[k].shape == v.shape}
    module.load_state_dict(fitting, strict=False)
    left = sorted(weights.keys() - fitting.keys())
    missing = sorted(own.keys() - fitting.keys())
    report = f"{len(fitting)} tensors taken"
    for label, names in (("not used", left), ("started anew", missing)):
        if names:
            report += f", {len(names)} {label} ({names[0]} …)"
    return report
