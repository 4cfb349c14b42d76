"""Short trainings of the demo's language model and the tiny codec, with callbacks of choice."""

import lightning as L
from lightning.pytorch.callbacks import ModelCheckpoint

import train
from musicgen_train.training.monitoring.step_clock import StepClock
from musicgen_train.training.surviving.checkpoints import StepSeed
from tests.small_training import config

QUIET = {
    "accelerator": "cpu", "devices": 1, "max_epochs": -1, "enable_progress_bar": False,
    "enable_model_summary": False, "use_distributed_sampler": False, "num_sanity_val_steps": 0,
    "check_val_every_n_epoch": None, "log_every_n_steps": 1,
}  # fmt: skip


def trainer_of(*callbacks, **options):
    """A trainer on one CPU; without a logger or validation unless `options` say so."""
    options = {"logger": False, "limit_val_batches": 0, "val_check_interval": 2, **options}
    options["enable_checkpointing"] = any(isinstance(c, ModelCheckpoint) for c in callbacks)
    return L.Trainer(**QUIET, callbacks=[StepClock(), *callbacks, StepSeed(1)], **options)


def parts_of(experiment, datasets, *overrides):
    """(cfg, task, datamodule) of a small experiment."""
    cfg = config(experiment, datasets, *overrides)
    L.seed_everything(0, verbose=False)
    return cfg, train.build(cfg.task), train.build(cfg.data)
