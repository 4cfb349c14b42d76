"""The two decoders of audio files: libsndfile, and FFmpeg for the kinds that it lacks (AAC)."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import soundfile

from musicgen_train.data.truncation import mp3_counts_frames

_SLACK = 0.05  # seconds that a lossy decoder may lack of what the header says: a packet
# FFmpeg also opens playlists, which name other files: a file may turn out to be these alone.
_CONTAINERS = "mov,mp4,m4a,3gp,3g2,mj2,aac,ac3,mp3,asf,matroska,webm"


class Truncated(ValueError):
    """A file whose samples end before its header says."""


class Decoder(Protocol):
    """An open file; `blocks` yields, once, [n, C] float32 of about `size` samples from `first`."""

    sample_rate: int
    channels: int
    n_samples: int | None  # by the header; None where it does not say

    def blocks(self, size: int, first: int = 0) -> Iterator[np.ndarray]: ...

    def close(self) -> None: ...


def open_decoder(path: Path) -> Decoder:
    """Open a file by what it holds, whatever its name says."""
    try:
        decoder = Sndfile(path)
    except soundfile.LibsndfileError as error:
        try:
            return Ffmpeg(path)
        except ValueError:
            raise error from None
    if decoder.format == "MP3" and not mp3_counts_frames(path):
        decoder.close()  # it guesses the length, and reads no further than that
        return Ffmpeg(path)
    return decoder


class ReadOnce(soundfile.SoundFile):
    """Leaves out the seek that soundfile makes after each read.

    In FLAC it costs as much as reading, and in MP3 it loses the bits that the next frame needs.
    """

    def seekable(self) -> bool:
        return False


class Sndfile:
    """WAV, AIFF, FLAC, Ogg (Vorbis, Opus) and MP3."""

    def __init__(self, path: Path) -> None:
        # By its descriptor, since libsndfile believes some suffixes more than the content.
        self._file = ReadOnce(os.open(path, os.O_RDONLY))
        self.format = self._file.format
        self.sample_rate = self._file.samplerate
        self.channels = self._file.channels
        self.n_samples = self._file.frames if self._file.frames < 1 << 48 else None
        self._slack = 0 if self.format == "FLAC" else _SLACK * self.sample_rate

    def blocks(self, size: int, first: int = 0) -> Iterator[np.ndarray]:
        done = first if self.n_samples is None else min(first, self.n_samples)
        if done:
            self._file.seek(done)
        while len(block := self._file.read(size, dtype="float32", always_2d=True)):
            done += len(block)
            yield block
        if self.n_samples is not None and self.n_samples - done > self._slack:
            raise Truncated(f"{done} of {self.n_samples} samples")

    def close(self) -> None:
        self._file.close()


class Ffmpeg:
    """The first audio stream of MP4 (AAC, ALAC), ADTS, ASF and Matroska files, and bare MP3."""

    def __init__(self, path: Path) -> None:
        import av

        self._container: Any = None
        self._file = path.open("rb")
        try:
            self._container = av.open(self._file, options={"format_whitelist": _CONTAINERS})
            if not self._container.streams.audio:
                raise ValueError("it has no audio stream")
        except BaseException:
            self.close()
            raise
        stream = self._container.streams.audio[0]
        self.sample_rate = stream.rate
        self.channels = stream.channels
        # The other containers only guess their length.
        is_mp4 = "mp4" in self._container.format.name and stream.duration is not None
        self.n_samples = round(stream.duration * stream.time_base * stream.rate) if is_mp4 else None

    def blocks(self, size: int, first: int = 0) -> Iterator[np.ndarray]:
        import av

        to_float = av.AudioResampler(format="fltp")
        position, held, n_held = 0, [], 0
        for frame in self._container.decode(audio=0):
            for part in to_float.resample(frame):
                wav = part.to_ndarray().T
                if self.n_samples is not None:  # the encoder filled up its last packet
                    wav = wav[: max(0, self.n_samples - position)]
                held.append(wav[max(0, first - position) :])
                n_held += len(held[-1])
                position += len(wav)
            if n_held >= size:
                yield np.concatenate(held)
                held, n_held = [], 0
        if n_held:
            yield np.concatenate(held)
        if self.n_samples is not None and self.n_samples - position > _SLACK * self.sample_rate:
            raise Truncated(f"{position} of {self.n_samples} samples")

    def close(self) -> None:
        if self._container is not None:
            self._container.close()
        self._file.close()
