"""A melody or a prompt that a visitor uploaded or recorded: decoded once, within bounds."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from musicgen_train.app.request import Limits
from musicgen_train.app.told_errors import without_paths
from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.data.audio_file import AudioFile

_BEYOND = 60.0  # seconds that are kept beyond the longest music: a window that slides reaches there
_SILENT = 1e-4  # a peak of -80 dB
_LOUD = 100.0  # a peak beyond it is no float audio
_HIGHEST_RATE, _MOST_CHANNELS = 48_000, 2  # more would only fill the memory


@dataclass(frozen=True)
class Sound:
    """Audio of a visitor: wav [C, N] float32 with at most 2 channels.

    name: what the file was called, to be shown. duration: seconds of the file; of a file longer
    than any music may get, wav holds the beginning.
    """

    wav: "Tensor"
    sample_rate: int
    name: str
    duration: float


def read_sound(path: str | Path, folder: Path, limits: Limits, name: str | None = None) -> Sound:
    """Decode a file inside the upload folder, by what it holds and whatever its name says.

    name: what the visitor called it, by default the file's own name. Every fault is a `UserError`
    of one line under that name: another folder's file, no audio, too large, too long, silent.
    """
    from musicgen_train.data.audio_file import AudioError

    file = uploaded_file(path, folder, limits.max_upload_bytes, name)
    shown = display_name(name or file.name)
    try:
        return _decoded(file, shown, limits)
    except AudioError as error:
        raise UserError(
            without_paths(f"{shown}: {error.reason}; {error.remedy}", {str(file): shown})
        ) from None


def uploaded_file(path: str | Path, folder: Path, max_bytes: int, name: str | None = None) -> Path:
    """The resolved path of an uploaded file; what is not in the upload folder is refused."""
    shown = display_name(name or Path(path).name)
    try:
        file = Path(path).resolve(strict=True)
        inside = file.is_relative_to(folder.resolve()) and file.is_file()
        size = file.stat().st_size
    except (OSError, ValueError, RuntimeError):  # also of a name that no file can have
        inside, size, file = False, 0, Path()
    if not inside:
        raise UserError(f"{shown}: is no uploaded file (any more); upload it again")
    if size > max_bytes:
        raise UserError(f"{shown}: has {size / 1e6:.0f} MB; give at most {max_bytes / 1e6:.0f} MB")
    return file


def display_name(name: str) -> str:
    """A file's name as a line of at most 80 letters, without folders and control characters."""
    last = name.replace("\\", "/").rstrip("/").rpartition("/")[2]
    line = "".join(letter if letter.isprintable() else " " for letter in last).strip()
    line = line if len(line) <= 80 else f"{line[:39]}…{line[-40:]}"
    return line or "sound"


def _decoded(path: Path, name: str, limits: Limits) -> Sound:
    from musicgen_train.data.audio import to_channels
    from musicgen_train.data.audio_file import AudioError, AudioFile

    file = AudioFile(path)
    most = round((limits.max_duration + _BEYOND) * file.sample_rate)
    channels = file.channels if file.channels <= _MOST_CHANNELS else 1
    keeper = Keeper(file.sample_rate, channels)
    n_samples = 0
    for block in _bounded(file, name, limits):
        if n_samples < most:
            keeper.add(to_channels(block[:, : most - n_samples], channels))
        n_samples += block.shape[1]
    if not n_samples:
        raise AudioError(path, "holds no audio samples")
    wav = keeper.wav()
    peak = float(wav.abs().max()) if wav.numel() else 0.0
    if peak < _SILENT:
        raise UserError(f"{name}: is silent; record or choose another sound")
    if peak > _LOUD:
        raise UserError(f"{name}: its samples reach {peak:g}; give samples within ±1")
    return Sound(wav, keeper.sample_rate, name, n_samples / file.sample_rate)


class Keeper:
    """Blocks [C, n] of a sound, at no more than 48 kHz: higher rates only fill the memory."""

    def __init__(self, rate: int, channels: int) -> None:
        import soxr

        self.sample_rate = min(rate, _HIGHEST_RATE)
        self._blocks: list[Tensor] = []
        self._resampler = None
        if rate > _HIGHEST_RATE:
            self._resampler = soxr.ResampleStream(rate, _HIGHEST_RATE, channels, dtype="float32")
        self._channels = channels

    def add(self, block: "Tensor", last: bool = False) -> None:
        """The next block."""
        import torch

        if self._resampler is not None:
            samples = block.T.contiguous().numpy()
            made = self._resampler.resample_chunk(samples, last=last)
            block = torch.from_numpy(made.reshape(-1, self._channels).T.copy())
        self._blocks.append(block)

    def wav(self) -> "Tensor":
        """All of them, [C, N]."""
        import torch

        if self._resampler is not None:
            self.add(torch.zeros(self._channels, 0), last=True)
        return torch.cat(self._blocks, dim=1)


def _bounded(file: "AudioFile", name: str, limits: Limits) -> "Iterator[Tensor]":
    """The blocks of a file until it is longer than is allowed, which no header is asked."""
    longest = limits.max_sound_duration
    n_samples = 0
    for block in file.blocks():
        n_samples += block.shape[1]
        if n_samples > longest * file.sample_rate:
            raise UserError(f"{name}: is longer than {longest:g} s; cut it")
        yield block
