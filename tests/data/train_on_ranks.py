"""Train on some ranks and note what each saw: python train_on_ranks.py DATASET OUT STEPS [CKPT]."""

import json
import sys
from pathlib import Path

import lightning
import torch

from musicgen_train.data.datamodule import MusicDataModule


class Recorder(lightning.LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[list[str]] = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)

    def training_step(self, batch, batch_idx):
        self.seen.append(batch.keys)
        return self.layer(torch.ones(1, 1)).sum()


def train(
    dataset: str, folder: str, n_steps: int, devices: int, num_workers: int, ckpt: str | None = None
) -> None:
    """Each rank writes its batches to `seen-RANK.json`; the run ends with `end.ckpt`."""
    data = MusicDataModule(
        dataset, batch_size=2, segment_duration=1.0, num_workers=num_workers, seed=3, max_bad=0.5
    )
    trainer = lightning.Trainer(
        accelerator="cpu", devices=devices, strategy="ddp" if devices > 1 else "auto",
        max_steps=n_steps, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False, limit_val_batches=0,
    )  # fmt: skip
    module = Recorder()
    trainer.fit(module, data, ckpt_path=ckpt, weights_only=True)
    Path(folder, f"seen-{trainer.global_rank}.json").write_text(json.dumps(module.seen))
    trainer.save_checkpoint(Path(folder, "end.ckpt"))


if __name__ == "__main__":
    dataset, folder, n_steps, devices, num_workers, *ckpt = sys.argv[1:]
    train(dataset, folder, int(n_steps), int(devices), int(num_workers), *ckpt)
