"""What a file holds, learned while it is decoded."""

import hashlib
from collections.abc import Iterable, Iterator

from torch import Tensor


class Pcm:
    """Rate, channels, length and hash of audio that passes by: equal for WAV and FLAC of it."""

    def __init__(self, sample_rate: int, channels: int) -> None:
        self.sample_rate = sample_rate
        self.channels = channels
        self.n_samples = 0
        self._hash = hashlib.sha256(f"{sample_rate} {channels} ".encode())

    def hear(self, blocks: Iterable[Tensor]) -> Iterator[Tensor]:
        """Pass the blocks [C, n] on."""
        for block in blocks:
            self.add(block)
            yield block

    def add(self, block: Tensor) -> None:
        """Hear the next block [C, n]."""
        self.n_samples += block.shape[1]
        self._hash.update(block.T.contiguous().numpy().data)

    @property
    def hash(self) -> str:
        """sha256 of rate, channels and samples so far."""
        return self._hash.hexdigest()
