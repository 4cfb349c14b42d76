"""What the codec under training makes of the same few clips: to hear and to see."""

from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.loggers import WandbLogger
from torch import Tensor

from musicgen_train.data.audio import encode_flac, replacing
from musicgen_train.data.batches import AudioBatch


class ReconstructionSamples(L.Callback):
    """At each validation, write the first clips beside what the codec makes of them.

    `folder`/step_N holds, for each clip, `KEY.flac` (the original, a pause, the round trip) and
    `KEY.png`, its spectrogram. A W&B logger gets the same.
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
        clips = list(zip(batch.keys, batch.wav.cpu(), outputs.cpu(), strict=True))
        written = [
            self._write(trainer.global_step, *clip, codec.sample_rate)
            for clip in clips[: self.n_clips]
        ]
        for logger in trainer.loggers:
            if isinstance(logger, WandbLogger):
                names = [audio.stem for audio, _ in written]
                sounds = [str(audio) for audio, _ in written]
                logger.log_audio("valid/audio", sounds, caption=names)
                logger.log_image("valid/spectrogram", [str(p) for _, p in written], caption=names)

    def _write(
        self, step: int, key: str, original: Tensor, decoded: Tensor, sample_rate: int
    ) -> tuple[Path, Path]:
        from musicgen_train.evaluation.report.plots import brightest, display_mel, plot_spectrogram

        folder = self.folder / f"step_{step}"
        folder.mkdir(parents=True, exist_ok=True)
        pause = original.new_zeros(len(original), int(self.PAUSE * sample_rate))
        both = torch.cat([original, pause, decoded.float()], -1).clamp(-1, 1)
        audio, picture = folder / f"{key}.flac", folder / f"{key}.png"
        with replacing(audio) as partial:
            partial.write_bytes(encode_flac(both, sample_rate))
        mel = display_mel(both, sample_rate)
        plot_spectrogram(mel, brightest(mel), picture)
        return audio, picture
