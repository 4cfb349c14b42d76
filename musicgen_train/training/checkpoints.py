"""What checkpoints carry, and starting from the weights of another model."""

from typing import Any

import lightning as L
from torch import Tensor, nn


class ConfigInCheckpoint(L.Callback):
    """Put the resolved configuration into every checkpoint, so that it explains itself."""

    def __init__(self, config: dict[str, Any]):
        self.config = config

    def on_save_checkpoint(
        self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]
    ) -> None:
        checkpoint["config"] = self.config


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
