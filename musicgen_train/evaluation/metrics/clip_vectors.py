"""Embeddings of many clips in one array, of which clips, never windows, are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from musicgen_train.evaluation.metrics.frechet import GaussianStatistics

BLOCK_BYTES = 8 * 2**20  # of one block's float64 rows
PASS_BYTES = 2**29  # of the scatter matrices that grow in one pass over the array


class ClipVectors:
    """Vectors [N, D], those of one clip in successive rows, and how many rows each clip has.

    The array may be mapped from disk: blocks of it become float64 as they are needed.
    """

    def __init__(self, values: np.ndarray | Tensor, lengths: Sequence[int] | np.ndarray) -> None:
        array = values.detach().cpu().numpy() if isinstance(values, Tensor) else values
        self.values: np.ndarray = array
        self.lengths = np.asarray(lengths, dtype=np.int64)
        self.ends = np.cumsum(self.lengths)
        assert values.ndim == 2, f"embeddings are [N, D], got {tuple(values.shape)}"
        assert self.lengths.sum() == len(values), f"{self.lengths.sum()} rows of {len(values)}"
        assert (self.lengths > 0).all(), "a clip without a vector has no place among the vectors"

    @property
    def n_clips(self) -> int:
        return len(self.lengths)

    @property
    def n_vectors(self) -> int:
        return len(self.values)

    @property
    def dim(self) -> int:
        return self.values.shape[1]

    @property
    def _block_rows(self) -> int:
        return max(1, BLOCK_BYTES // (8 * self.dim))

    def rows(self, start: int, end: int) -> Tensor:
        """A copy of rows [start, end) in float64; ValueError if one is not finite."""
        rows = torch.from_numpy(np.array(self.values[start:end], dtype=np.float64))
        if not torch.isfinite(rows).all():
            raise ValueError("embeddings hold NaN or infinity: check the audio they come from")
        return rows

    def row_blocks(self, size: int) -> Iterator[Tensor]:
        """All rows in order, at most `size` at a time: [n, D]."""
        for start in range(0, self.n_vectors, size):
            yield self.rows(start, min(start + size, self.n_vectors))

    def clip_blocks(self, size: int) -> Iterator[tuple[slice, Tensor]]:
        """All clips in order, of at most `size` rows or one clip at a time: clips, rows [n, D]."""
        first = 0
        while first < self.n_clips:
            start = self.ends[first] - self.lengths[first]
            last = max(int(np.searchsorted(self.ends, start + size, "right")), first + 1)
            yield slice(first, last), self.rows(start, self.ends[last - 1])
            first = last

    def clip_means(self) -> ClipVectors:
        """One vector a clip, the mean of its own, in float64."""
        means = [
            part.mean(0)
            for clips, rows in self.clip_blocks(self._block_rows)
            for part in rows.split(self.lengths[clips].tolist())
        ]
        return ClipVectors(torch.stack(means), np.ones(self.n_clips, dtype=np.int64))

    def statistics(self) -> GaussianStatistics:
        """Mean and scatter of all vectors."""
        found: GaussianStatistics | None = None
        for rows in self.row_blocks(self._block_rows):
            block = GaussianStatistics.of(rows)
            found = found.merge(block) if found else block
        if found is None:
            raise ValueError("no clips: the set is empty")
        return found

    def drawn_statistics(self, counts: np.ndarray) -> Iterator[GaussianStatistics]:
        """Statistics of R sets in which clip c is found counts[r, c] times: counts [R, n_clips].

        Memory: the scatter matrices of as many sets as fit into `PASS_BYTES`; further sets take
        another pass over the array.
        """
        assert counts.shape[1] == self.n_clips, (counts.shape, self.n_clips)
        at_once = max(1, PASS_BYTES // (8 * self.dim**2))
        centre = self.rows(0, min(1000, self.n_vectors)).mean(0)
        for first in range(0, len(counts), at_once):
            yield from self._one_pass(counts[first : first + at_once], centre)

    def _one_pass(self, counts: np.ndarray, centre: Tensor) -> Iterator[GaussianStatistics]:
        totals = counts @ self.lengths
        sums = torch.zeros(len(counts), self.dim, dtype=torch.float64)
        second = torch.zeros(len(counts), self.dim, self.dim, dtype=torch.float64)
        for clips, rows in self.clip_blocks(self._block_rows):
            rows -= centre
            lengths = self.lengths[clips]
            by_clip = np.add.reduceat(rows.numpy(), np.cumsum(lengths) - lengths)
            sums += torch.as_tensor(counts[:, clips] @ by_clip)
            for drawn, count in enumerate(counts[:, clips]):
                weights = np.repeat(count, lengths)
                found = np.flatnonzero(weights)
                own = rows[torch.as_tensor(found)]
                own *= torch.as_tensor(weights[found], dtype=torch.float64).sqrt()[:, None]
                second[drawn].addmm_(own.T, own)
        for n, total, outer in zip(totals.tolist(), sums, second, strict=True):
            mean = total / max(n, 1)
            yield GaussianStatistics(n, mean + centre, outer - n * torch.outer(mean, mean))
