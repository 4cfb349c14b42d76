"""Sets of clips on disk, and the faults that a score alone would hide."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.data.audio import (
    AUDIO_SUFFIXES,
    AudioError,
    encode_flac,
    read_audio,
    replacing,
)
from musicgen_train.errors import UserError

SILENCE_RMS = 1e-3  # -60 dBFS
SHORT_DURATION = 1.0  # seconds


class Clip(NamedTuple):
    """One piece of audio in memory."""

    name: str
    wav: Tensor  # [C, N]
    sample_rate: int


@dataclass
class ClipFaults:
    """How many clips of a set are unusable or suspect. They are counted, never dropped quietly."""

    n_clips: int = 0
    silent: int = 0
    short: int = 0
    non_finite: int = 0
    unreadable: list[str] = field(default_factory=list)
    levels: list[float] = field(default_factory=list, repr=False)  # dBFS of the sound clips

    @property
    def mean_level(self) -> float:
        """dBFS, mean over clips that are neither silent nor broken; NaN if there are none."""
        return sum(self.levels) / len(self.levels) if self.levels else math.nan

    def add(self, clip: Clip) -> None:
        """Count one more clip."""
        self.n_clips += 1
        if not torch.isfinite(clip.wav).all():
            self.non_finite += 1
            return
        self.short += clip.wav.shape[-1] < SHORT_DURATION * clip.sample_rate
        rms = float(clip.wav.double().square().mean().sqrt()) if clip.wav.numel() else 0.0
        if rms < SILENCE_RMS:
            self.silent += 1
        else:
            self.levels.append(20 * math.log10(rms))

    def to_json(self) -> dict[str, object]:
        """Plain values for metrics.json."""
        plain = {**asdict(self), "mean_level": self.mean_level if self.levels else None}
        del plain["levels"]
        return plain


def clip_faults(clips: Iterable[Clip], unreadable: Iterable[str] = ()) -> ClipFaults:
    """Count silent, short and non-finite clips and average the level of the sound ones."""
    faults = ClipFaults(unreadable=list(unreadable))
    for clip in clips:
        faults.add(clip)
    return faults


def find_clips(folder: Path | str) -> list[Path]:
    """Audio files below a folder, sorted by name."""
    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"no such folder: {folder}; give a folder of audio files")
    paths = sorted(p for p in folder.rglob("*") if p.suffix.lower() in AUDIO_SUFFIXES)
    if not paths:
        kinds = ", ".join(sorted(AUDIO_SUFFIXES))
        raise UserError(f"no audio in {folder}; put files there that end in {kinds}")
    return paths


def read_clips(folder: Path | str) -> tuple[list[Clip], list[str]]:
    """Every readable clip below a folder, and the names of the unreadable ones."""
    folder, clips, unreadable = Path(folder), [], []
    for path in find_clips(folder):
        name = str(path.relative_to(folder))
        try:
            clips.append(Clip(name, *read_audio(path)))
        except AudioError:
            unreadable.append(name)
    if not clips:
        raise UserError(
            f"none of the {len(unreadable)} audio files in {folder} can be read; replace them"
        )
    return clips, unreadable


def write_clip(path: Path, clip: Clip) -> None:
    """Write one clip as 16-bit FLAC at its own level, for what was measured is what is heard."""
    path.parent.mkdir(parents=True, exist_ok=True)
    wav = torch.nan_to_num(clip.wav, nan=0.0, posinf=0.0, neginf=0.0).clamp(-1, 1)
    with replacing(path) as partial:
        partial.write_bytes(encode_flac(wav, clip.sample_rate))
