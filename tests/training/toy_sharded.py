"""A model of two layers, trained on one process or sharded on two: `toy_sharded.py FOLDER`."""

import sys
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn
from torch.distributed.fsdp import fully_shard

from musicgen_train.training.surviving.checkpoint_files import WholeFileIO, seal


class Toy(L.LightningModule):
    """Regression, with two groups of parameters that have rates of their own, and a schedule."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.layers = nn.ModuleList([nn.Linear(4, 8), nn.Linear(8, 2)])

    def configure_model(self) -> None:
        if self.trainer.world_size > 1:
            for layer in self.layers:
                fully_shard(layer, mesh=self.device_mesh["data_parallel"])

    def training_step(self, batch: Tensor, batch_idx: int) -> Tensor:
        hidden = torch.tanh(self.layers[0](batch))
        return (self.layers[1](hidden) - batch[:, :2]).square().mean()

    def configure_optimizers(self) -> Any:
        groups = [
            {"params": [p for p in self.parameters() if p.ndim == 1], "lr": 0.02},
            {"params": [p for p in self.parameters() if p.ndim == 2], "lr": 0.01},
        ]
        optimizer = torch.optim.AdamW(groups)
        schedule = torch.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        return [optimizer], [{"scheduler": schedule, "interval": "step"}]


def batches() -> torch.utils.data.DataLoader:
    rows = torch.randn(12, 4, 4, generator=torch.Generator().manual_seed(1))
    return torch.utils.data.DataLoader(list(rows), batch_size=None)


def trainer(max_steps: int, **settings: Any) -> L.Trainer:
    return L.Trainer(
        accelerator="cpu", max_steps=max_steps, logger=False, enable_checkpointing=False,
        enable_progress_bar=False, enable_model_summary=False, use_distributed_sampler=False,
        **({"plugins": WholeFileIO()} | settings),
    )  # fmt: skip


if __name__ == "__main__":
    strategy = ModelParallelStrategy(data_parallel_size=2, tensor_parallel_size=1)
    sharded = trainer(4, devices=2, strategy=strategy, plugins=None)
    sharded.fit(Toy(), batches())
    partial, final = Path(sys.argv[1] + ".part"), Path(sys.argv[1])
    sharded.save_checkpoint(partial)
    if sharded.is_global_zero:
        seal(partial, final)
