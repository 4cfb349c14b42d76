"""Audio files of any length, read and written block by block in constant memory."""

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np
import soundfile
import torch
from torch import Tensor

from musicgen_train.data.audio import AudioError, read_audio, replacing, to_channels


class AudioBlocks:
    """A file as blocks [C, n] of about `block_duration` seconds, at one rate, in some channels.

    `duration` is what its header says, in seconds. AAC (m4a), which libsndfile lacks, is decoded
    whole.
    """

    def __init__(
        self, path: str | Path, sample_rate: int, channels: int, block_duration: float = 1.0
    ):
        self.path = Path(path)
        self.sample_rate = sample_rate
        self.channels = channels
        self.block_duration = block_duration
        # Opens the file: what is no audio is refused before anything is done with it.
        aac = self.path.suffix.lower() in {".m4a", ".aac", ".mp4"}
        start, self.own_rate = read_audio(self.path, duration=None if aac else block_duration)
        self.whole = start if aac else None
        n_samples = start.shape[1] if aac else soundfile.info(self.path).frames
        self.duration = n_samples / self.own_rate

    def __iter__(self) -> Iterator[Tensor]:
        blocks = (self._checked(to_channels(block, self.channels)) for block in self._decoded())
        return blocks if self.own_rate == self.sample_rate else self._resampled(blocks)

    def _decoded(self) -> Iterator[Tensor]:
        size = max(1, round(self.block_duration * self.own_rate))
        if self.whole is not None:
            yield from self.whole.split(size, -1)
            return
        n_samples = 0
        with soundfile.SoundFile(self.path) as file:
            try:
                while len(block := file.read(size, dtype="float32", always_2d=True)):
                    n_samples += len(block)
                    yield torch.from_numpy(np.ascontiguousarray(block.T))
            except soundfile.LibsndfileError as error:
                raise AudioError(f"{self.path}: cannot be decoded ({error}); replace it") from None
            if file.frames - n_samples > 0.05 * self.own_rate:  # lossy decoders may miss a packet
                raise AudioError(
                    f"{self.path}: truncated: {n_samples} of {file.frames} samples; replace it"
                )

    def _checked(self, block: Tensor) -> Tensor:
        if not block.isfinite().all():
            raise AudioError(f"{self.path}: holds NaN or infinite samples; replace or remove it")
        return block

    def _resampled(self, blocks: Iterator[Tensor]) -> Iterator[Tensor]:
        import soxr

        stream = soxr.ResampleStream(
            self.own_rate, self.sample_rate, self.channels, dtype="float32", quality="HQ"
        )
        for block in blocks:
            yield from _filled(stream.resample_chunk(np.ascontiguousarray(block.T.numpy())))
        yield from _filled(
            stream.resample_chunk(np.zeros((0, self.channels), np.float32), last=True)
        )


def _filled(samples: np.ndarray) -> Iterator[Tensor]:
    """The block [C, n] of samples [n, C], if there are any."""
    if len(samples):
        yield torch.from_numpy(np.ascontiguousarray(samples.T))


def write_blocks(path: Path, blocks: Iterable[Tensor], sample_rate: int, channels: int) -> None:
    """Write blocks [C, n], cut at full scale, in the format of the suffix; all or nothing."""
    with replacing(path) as temporary:
        kind = path.suffix[1:].upper()
        with soundfile.SoundFile(temporary, "w", sample_rate, channels, format=kind) as file:
            for block in blocks:
                for part in block.clamp(-1, 1).T.cpu().split(1 << 16):
                    # More at once overflows the stack of libsndfile's Vorbis encoder.
                    file.write(part.numpy())
