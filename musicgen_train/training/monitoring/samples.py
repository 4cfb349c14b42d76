"""What the codec under training makes of the same few clips: to hear and to see."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor

from musicgen_train.data.batches import AudioBatch
from musicgen_train.training.monitoring.clips import send_clips, write_clip


class ReconstructionSamples(L.Callback):
    """At each validation, write the first clips beside what the codec makes of them.

    `folder`/step_N holds, for each clip, `KEY.flac` (the original, a pause, the round trip) and
    `KEY.png`, its spectrogram. W&B and TensorBoard loggers get the same.
    """

    PAUSE = 0.25  # seconds

    def __init__(self, folder: str | Path, n_clips: int = 4):
        self.folder = Path(folder)
        self.n_clips = n_clips

    def on_validation_batch_end(
        self,
        trainer: L.Trainer,
        pl_module: L.LightningModule,
        outputs: Any,
        batch: AudioBatch,
        batch_idx: int,
        dataloader_idx: int = 0,
    ) -> None:
        if batch_idx > 0 or not trainer.is_global_zero or trainer.sanity_checking:
            return
        codec: Any = pl_module.codec
        folder = self.folder / f"step_{trainer.global_step}"
        rate = codec.sample_rate
        clips = list(zip(batch.keys, batch.wav.cpu(), outputs.cpu(), strict=True))
        written = [
            write_clip(folder, key, self._both(original, decoded, rate), rate)
            for key, original, decoded in clips[: self.n_clips]
        ]
        send_clips(trainer, "valid", written, rate)

    def _both(self, original: Tensor, decoded: Tensor, sample_rate: int) -> Tensor:
        pause = original.new_zeros(len(original), int(self.PAUSE * sample_rate))
        return torch.cat([original, pause, decoded.float()], -1)
