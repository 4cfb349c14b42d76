"""Audio of any length as blocks: from files, at another rate, in even sizes, and to files."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from musicgen_train.data.audio import to_channels
from musicgen_train.data.audio_file import AudioError, AudioFile
from musicgen_train.whole_files import replacing

_RESAMPLED = 1 << 16  # samples that the resampler gets at once


class AudioBlocks:
    """A file as blocks [C, n] of about `block_duration` seconds, at one rate, in some channels.

    `duration` is what its header says, in seconds, or else what is found by decoding it.
    """

    def __init__(
        self, path: str | Path, sample_rate: int, channels: int, block_duration: float = 1.0
    ):
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        # Decodes a first block: what is no audio is refused before anything is done with it.
        self._file = AudioFile(path)
        self.own_rate = self._file.sample_rate
        self.size = max(1, round(block_duration * self.own_rate))
        if next(self._file.blocks(self.size), None) is None:
            raise AudioError(path, "holds no audio samples")
        n_samples = self._file.n_samples
        if n_samples is None:
            n_samples = sum(block.shape[1] for block in self._file.blocks())
        self.duration = n_samples / self.own_rate

    def __iter__(self) -> Iterator[Tensor]:
        blocks = (to_channels(block, self.channels) for block in self._file.blocks(self.size))
        return resample_blocks(blocks, self.own_rate, self.sample_rate)


def resample_blocks(blocks: Iterable[Tensor], from_rate: int, to_rate: int) -> Iterator[Tensor]:
    """The blocks [..., n] of `resample(whole, from_rate, to_rate)`, whatever sizes they come in."""
    if from_rate == to_rate:
        yield from blocks
        return
    import soxr

    stream, shape = None, torch.Size()
    for block in even_blocks(blocks, _RESAMPLED):
        if stream is None:
            shape = block.shape[:-1]
            stream = soxr.ResampleStream(from_rate, to_rate, shape.numel(), "float32", "HQ")
        samples = block.reshape(shape.numel(), -1).T.contiguous().numpy()
        yield from _filled(stream.resample_chunk(samples), shape)
    if stream is not None:
        rest = np.zeros((0, shape.numel()), np.float32)
        yield from _filled(stream.resample_chunk(rest, last=True), shape)


def even_blocks(blocks: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same samples in blocks [..., size]; the last may be shorter."""
    held: list[Tensor] = []
    n_held = 0
    for block in blocks:
        held.append(block)
        n_held += block.shape[-1]
        if n_held >= size:
            *full, rest = torch.cat(held, -1).split(size, -1)
            yield from full
            if rest.shape[-1] == size:
                yield rest
                rest = rest[..., :0]
            held, n_held = [rest], rest.shape[-1]
    if n_held:
        yield torch.cat(held, -1)


def _filled(samples: np.ndarray, shape: torch.Size) -> Iterator[Tensor]:
    """The block [*shape, n] of samples [n, channels], if there are any."""
    if len(samples):
        yield torch.from_numpy(np.ascontiguousarray(samples.T)).reshape(*shape, -1)


def write_blocks(path: Path, blocks: Iterable[Tensor], sample_rate: int, channels: int) -> None:
    """Write blocks [C, n], cut at full scale, in the format of the suffix; all or nothing."""
    with replacing(path) as temporary:
        kind = path.suffix[1:].upper()
        with soundfile.SoundFile(temporary, "w", sample_rate, channels, format=kind) as file:
            for block in blocks:
                for part in block.clamp(-1, 1).T.cpu().split(1 << 16):
                    # More at once overflows the stack of libsndfile's Vorbis encoder.
                    file.write(part.numpy())
