"""A WAV file that grows while its music is made, and a player may read from its first second on."""

import os
import struct
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.whole_files import writing


class WavStream:
    """16-bit WAV of a known length, written block by block: the header is right from the start."""

    def __init__(self, file: BinaryIO, sample_rate: int, channels: int, n_samples: int) -> None:
        self.file = file
        frame = 2 * channels
        form = (1, channels, sample_rate, sample_rate * frame, frame, 16)
        size = n_samples * frame
        self._put(
            struct.pack("<4sI4s", b"RIFF", 36 + size, b"WAVE")
            + struct.pack("<4sIHHIIHH", b"fmt ", 16, *form)
            + struct.pack("<4sI", b"data", size)
        )

    def write(self, block: Tensor) -> None:
        """Append a block [C, n], cut at full scale; it can be read at once."""
        samples = (block.detach().float().cpu().clamp(-1, 1) * 32767).round().short()
        self._put(samples.T.contiguous().numpy().astype("<i2").tobytes())

    def _put(self, data: bytes) -> None:
        name = str(getattr(self.file, "name", "the stream")).strip("<>")
        with writing(name):
            try:
                self.file.write(data)
                self.file.flush()
            except BrokenPipeError:
                raise UserError(
                    f"{name} was closed before the music ended: let the player go on"
                ) from None


@contextmanager
def growing(path: Path) -> Iterator[BinaryIO]:
    """A file `NAME.part.wav` that becomes `path` if the block succeeds, and is removed if not."""
    part = part_of(path)
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with part.open("wb") as file:
                yield file
            os.replace(part, path)
        finally:
            part.unlink(missing_ok=True)


def part_of(path: Path) -> Path:
    """What a file is called while it grows."""
    return path.with_suffix(f".part{path.suffix}")
