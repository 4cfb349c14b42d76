"""A callback that hangs, for runs in processes of their own."""

import time
from typing import Any

import lightning as L


class Hang(L.Callback):
    """Sleep for good after the third batch on one of the ranks."""

    def __init__(self, rank: int):
        self.rank = rank

    def on_train_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: Any,
        batch_idx: int,
    ) -> None:
        if batch_idx == 2 and trainer.global_rank == self.rank:
            time.sleep(1000)
