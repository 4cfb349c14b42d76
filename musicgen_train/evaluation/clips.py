"""Sets of clips on disk, and the faults that a score alone would hide."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.data.audio import AUDIO_SUFFIXES, encode_flac
from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.facts import ClipFacts
from musicgen_train.evaluation.metrics.silence import SILENCE_RMS
from musicgen_train.whole_files import replacing, writing

SHORT_DURATION = 1.0  # seconds
LONG_DURATION = 60.0  # seconds; its many windows outweigh those of other clips


class Clip(NamedTuple):
    """One piece of audio in memory."""

    name: str
    wav: Tensor  # [C, N]
    sample_rate: int


@dataclass
class ClipFaults:
    """Which clips of a set are unusable or suspect. They are named, never dropped quietly."""

    n_clips: int = 0
    silent: list[str] = field(default_factory=list)
    short: list[str] = field(default_factory=list)
    long: list[str] = field(default_factory=list)
    non_finite: list[str] = field(default_factory=list)
    unreadable: dict[str, str] = field(default_factory=dict)  # name -> reason; left out
    kinds: dict[str, list[str]] = field(default_factory=dict)  # "32000 Hz, 1 channel" -> names
    levels: list[float] = field(default_factory=list, repr=False)  # dBFS of the sound clips

    @property
    def mean_level(self) -> float:
        """dBFS, mean over clips that are neither silent nor broken; NaN if there are none."""
        return sum(self.levels) / len(self.levels) if self.levels else math.nan

    def add(self, name: str, facts: ClipFacts) -> None:
        """Count one more clip."""
        self.n_clips += 1
        channels = "1 channel" if facts.channels == 1 else f"{facts.channels:.0f} channels"
        self.kinds.setdefault(f"{facts.sample_rate:.0f} Hz, {channels}", []).append(name)
        if facts.duration < SHORT_DURATION:
            self.short.append(name)
        if facts.duration > LONG_DURATION:
            self.long.append(name)
        if not math.isfinite(facts.rms):
            self.non_finite.append(name)
        elif facts.rms < SILENCE_RMS:
            self.silent.append(name)
        else:
            self.levels.append(20 * math.log10(facts.rms))

    @property
    def odd_ones(self) -> dict[str, list[str]]:
        """Clips whose rate or channels are not those of most clips."""
        ordered = sorted(self.kinds.items(), key=lambda kind: -len(kind[1]))
        return dict(ordered[1:])

    def to_json(self) -> dict[str, object]:
        """Plain values for metrics.json."""
        plain = asdict(self)
        del plain["levels"], plain["kinds"]
        return {
            **plain,
            "mean_level": self.mean_level if self.levels else None,
            "kinds": {kind: len(names) for kind, names in self.kinds.items()},
            "odd_ones": self.odd_ones,
        }


class ClipFile(NamedTuple):
    """One audio file of a set; `name` is what it shares with its partners in other sets."""

    name: str
    path: Path
    track: str = ""  # clips of one track resemble each other; "" where it is not known


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


def clip_files(folder: Path | str) -> list[ClipFile]:
    """The files below a folder, named by their place without the suffix; twins are refused."""
    folder, found = Path(folder), dict[str, Path]()
    for path in find_clips(folder):
        name = path.relative_to(folder).with_suffix("").as_posix()
        if name in found:
            raise UserError(
                f"{folder} has {found[name].name} and {path.name}, two clips of one name; "
                "remove one"
            )
        found[name] = path
    return [ClipFile(name, path) for name, path in found.items()]


def write_clip(path: Path, clip: Clip) -> None:
    """Write one clip as 16-bit FLAC at its own level, for what was measured is what is heard."""
    wav = torch.nan_to_num(clip.wav, nan=0.0, posinf=0.0, neginf=0.0).clamp(-1, 1)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as partial:
            partial.write_bytes(encode_flac(wav, clip.sample_rate))
