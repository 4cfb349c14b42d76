"""Clips of a run to hear and to see: files, and the same for the loggers that take them."""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import lightning as L
from lightning.pytorch.loggers import TensorBoardLogger, WandbLogger
from torch import Tensor

from musicgen_train.data.audio import encode_flac
from musicgen_train.whole_files import replacing


class Clip(NamedTuple):
    """What is written of a clip: KEY.flac and its spectrogram KEY.png."""

    key: str
    wav: Tensor  # [C, N] in [-1, 1], on the CPU
    audio: Path
    picture: Path


def write_clip(folder: Path, key: str, wav: Tensor, sample_rate: int) -> Clip:
    """Write a wav [C, N] and its spectrogram into the folder."""
    from musicgen_train.evaluation.report.plots import brightest, display_mel, plot_spectrogram

    folder.mkdir(parents=True, exist_ok=True)
    wav = wav.detach().float().cpu().clamp(-1, 1)
    audio, picture = folder / f"{key}.flac", folder / f"{key}.png"
    with replacing(audio) as partial:
        partial.write_bytes(encode_flac(wav, sample_rate))
    mel = display_mel(wav, sample_rate)
    with replacing(picture) as partial:
        # The picture's format is that of its name.
        plot_spectrogram(mel, brightest(mel), partial.with_suffix(".png"))
        partial.with_suffix(".png").rename(partial)
    return Clip(key, wav, audio, picture)


def send_clips(trainer: L.Trainer, group: str, clips: Sequence[Clip], sample_rate: int) -> None:
    """Give clips to the W&B and TensorBoard loggers as `group`/audio and `group`/spectrogram."""
    step = logged_step(trainer)
    for logger in trainer.loggers:
        if isinstance(logger, WandbLogger):
            names = [clip.key for clip in clips]
            sounds = [str(clip.audio) for clip in clips]
            pictures = [str(clip.picture) for clip in clips]
            logger.log_audio(f"{group}/audio", sounds, step=step, caption=names)
            logger.log_image(f"{group}/spectrogram", pictures, step=step, caption=names)
        elif isinstance(logger, TensorBoardLogger):
            _send_to_tensorboard(logger, group, clips, sample_rate, step)


def _send_to_tensorboard(
    logger: TensorBoardLogger, group: str, clips: Sequence[Clip], sample_rate: int, step: int
) -> None:
    from matplotlib.image import imread

    for clip in clips:
        # Its page plays one channel.
        mono = clip.wav.mean(0, keepdim=True)
        logger.experiment.add_audio(f"{group}/audio/{clip.key}", mono, step, sample_rate)
        picture = imread(clip.picture)[..., :3]
        name = f"{group}/spectrogram/{clip.key}"
        logger.experiment.add_image(name, picture, step, dataformats="HWC")


def logged_step(trainer: L.Trainer) -> int:
    """Where Lightning's loggers put what is logged now: the last step's index, from 0."""
    return max(0, trainer.global_step - 1)
