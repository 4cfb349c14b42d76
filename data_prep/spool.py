"""Audio of any length on disk while it is worked on, in a file that no kill leaves behind."""

import tempfile
from collections.abc import Iterator
from typing import Self

import numpy as np
import torch
from torch import Tensor

BLOCK = 1 << 18  # samples


class Spool:
    """Samples [K, C, N] float32 in a temporary file without a name (in TMPDIR, else /tmp)."""

    def __init__(self) -> None:
        self._file = tempfile.TemporaryFile(prefix="musicgen_train_")  # noqa: SIM115
        self._shape: tuple[int, ...] = (1, 1)
        self.n_samples = 0

    def append(self, block: Tensor) -> None:
        """Add [K, C, n] at the end; K and C are those of the first block."""
        if self.n_samples == 0:
            self._shape = tuple(block.shape[:-1])
        assert tuple(block.shape[:-1]) == self._shape, (block.shape, self._shape)
        self._file.write(np.ascontiguousarray(block.movedim(-1, 0).numpy(), np.float32).data)
        self.n_samples += block.shape[-1]

    def read(self, start: int, stop: int) -> Tensor:
        """Samples [K, C, stop - start]; fewer at the end."""
        stop = min(stop, self.n_samples)
        samples = np.empty((max(0, stop - start), *self._shape), np.float32)
        self._file.seek(4 * start * int(np.prod(self._shape)))
        n_read = self._file.readinto(samples.data) if samples.size else 0
        assert n_read == samples.nbytes, (n_read, samples.nbytes)
        return torch.from_numpy(samples).movedim(0, -1).contiguous()

    def blocks(self, size: int = BLOCK) -> Iterator[Tensor]:
        """All samples in blocks [K, C, size]; the last may be shorter."""
        for start in range(0, self.n_samples, size):
            yield self.read(start, start + size)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()
