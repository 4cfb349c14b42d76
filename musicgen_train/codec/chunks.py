"""Overlapping chunks, as the 48 kHz EnCodec codes them: cut, and joined by linear cross-fades."""

from collections.abc import Sequence

import torch
from torch import Tensor


def split_chunks(wav: Tensor, length: int, stride: int) -> list[Tensor]:
    """Chunks of `length` samples, one every `stride`; the last ones may be shorter: [..., N]."""
    return [wav[..., start : start + length] for start in range(0, wav.shape[-1], stride)]


class OverlapAdd:
    """Join chunks that begin `stride` samples apart, as they come.

    Each chunk [..., n] is weighted by a triangle over the length of the first, and the sum divided
    by the sum of weights: where two overlap, one fades linearly into the other.
    """

    def __init__(self, stride: int):
        self.stride = stride
        self.triangle: Tensor | None = None
        self.total: Tensor | None = None  # weighted sum from the next sample to give on
        self.weights: Tensor | None = None
        self.end = 0  # where the newest chunk ends, counted from there

    def push(self, chunk: Tensor) -> Tensor:
        """Add the next chunk; give the samples that no later chunk reaches."""
        given = chunk[..., :0]
        if self.triangle is None or self.total is None or self.weights is None:
            n = chunk.shape[-1]
            ramp = torch.linspace(0, 1, n + 2, device=chunk.device, dtype=chunk.dtype)[1:-1]
            self.triangle = 0.5 - (ramp - 0.5).abs()
            self.total, self.weights = torch.zeros_like(chunk), torch.zeros_like(self.triangle)
        else:
            given = self._take(self.stride)
            fresh = chunk.new_zeros(*chunk.shape[:-1], self.stride)
            self.total = torch.cat([self.total, fresh], -1)
            self.weights = torch.cat([self.weights, fresh.new_zeros(self.stride)])
        self.end = chunk.shape[-1]
        self.total[..., : self.end] += self.triangle[: self.end] * chunk
        self.weights[: self.end] += self.triangle[: self.end]
        return given

    def flush(self) -> Tensor:
        """The samples up to the end of the last chunk."""
        return self._take(self.end)

    def _take(self, n: int) -> Tensor:
        assert self.total is not None and self.weights is not None, "no chunk was pushed"
        given = self.total[..., :n] / self.weights[:n]
        self.total, self.weights = self.total[..., n:], self.weights[n:]
        return given


def overlap_add(chunks: Sequence[Tensor], stride: int) -> Tensor:
    """Join chunks [..., n] that begin `stride` samples apart; all but the last are equally long."""
    joiner = OverlapAdd(stride)
    return torch.cat([*(joiner.push(chunk) for chunk in chunks), joiner.flush()], -1)
