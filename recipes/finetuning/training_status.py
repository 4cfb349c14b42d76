"""The live loss of a fine-tuning, in its status.json."""

from pathlib import Path
from typing import Any

import lightning as L

from musicgen_train.training.monitoring.progress import step_line
from musicgen_train.training.monitoring.step_clock import clock_of
from recipes.finetuning.run_folder import read_json
from recipes.finetuning.status import Status


class TrainingStatus(L.Callback):
    """Tell steps, loss and the time left; the curves are in the run's logs/version_*/metrics.csv.

    path: of status.json, which keeps what else it says.
    """

    def __init__(self, path: str):
        self.path = Path(path)

    def on_train_start(self, trainer: L.Trainer, pl_module: L.LightningModule) -> None:
        self.status = Status(self.path, self.path.parent.name)
        self.status.content |= read_json(self.path)

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if trainer.is_global_zero:
            share = trainer.global_step / max(trainer.max_steps, 1)
            left = clock_of(trainer).seconds_left(trainer)
            self.status.progress(share, step_line(trainer), left)
