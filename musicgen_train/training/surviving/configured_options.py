"""A resumed run takes the optimizer's options from its configuration, not from the checkpoint."""

from typing import Any

import lightning as L

# What no optimizer changes itself; D-Adaptation and Prodigy keep state beside these.
OPTIONS = ("initial_lr", "weight_decay", "betas", "momentum", "eps")


class ConfiguredOptions(L.Callback):
    """Put rate, weight decay, betas, … back where a checkpoint has replaced them.

    Otherwise `optim.lr=… resume=auto` would go on with the old rate. The schedule goes on where it
    was, from the new rate.
    """

    def __init__(self) -> None:
        self._groups: list[list[dict[str, Any]]] = []

    def on_fit_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self._groups = [[dict(group) for group in o.param_groups] for o in trainer.optimizers]

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        for optimizer, groups in zip(trainer.optimizers, self._groups, strict=True):
            for group, configured in zip(optimizer.param_groups, groups, strict=True):
                group |= {name: configured[name] for name in OPTIONS if name in configured}
                if "initial_lr" not in configured:  # no schedule
                    group["lr"] = configured["lr"]
        for config in trainer.lr_scheduler_configs:
            schedule: Any = config.scheduler
            groups = schedule.optimizer.param_groups
            schedule.base_lrs = [group["initial_lr"] for group in groups]
            factors = [rate(schedule.last_epoch) for rate in schedule.lr_lambdas]
            for group, base, factor in zip(groups, schedule.base_lrs, factors, strict=True):
                group["lr"] = base * factor
            schedule._last_lr = [group["lr"] for group in groups]
