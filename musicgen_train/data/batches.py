"""What a training step receives: batches of codes or of audio, and how samples become one."""

from typing import Any, NamedTuple

import torch
from torch import Tensor


class Sample(NamedTuple):
    """One cropped segment, not yet padded."""

    content: Tensor  # codes [K, T] int64 or wav [C, N] float32
    chroma: Tensor | None  # [F, 12] float32
    metadata: dict[str, Any]  # the sample's json: description, genre, moods, bpm, …
    key: str


class CodesBatch(NamedTuple):
    """One batch of music as codec codes."""

    codes: Tensor  # [B, K, T] int64 in [0, card); 0 where padded
    lengths: Tensor  # [B] valid codec frames; the rest of T is padding
    descriptions: list[str]  # "" where the metadata has none
    chroma: Tensor | None  # [B, F, 12] float32, max-normalised; zeros where padded
    keys: list[str]
    metadata: list[dict[str, Any]]


class AudioBatch(NamedTuple):
    """One batch of music as audio."""

    wav: Tensor  # [B, C, N] float32; 0 where padded
    lengths: Tensor  # [B] valid samples; the rest of N is padding
    descriptions: list[str]
    chroma: Tensor | None  # [B, F, 12] float32, max-normalised; zeros where padded
    keys: list[str]
    metadata: list[dict[str, Any]]


def collate(
    samples: list[Sample], kind: type[CodesBatch] | type[AudioBatch], length: int, n_chroma: int
) -> CodesBatch | AudioBatch:
    """Pad samples to `length` frames (codes) or samples (audio), chroma to `n_chroma` frames."""
    chroma = None
    if all(sample.chroma is not None for sample in samples):
        chroma = _pad([s.chroma.T for s in samples if s.chroma is not None], n_chroma)
        chroma = chroma.mT.contiguous()
    return kind(
        _pad([sample.content for sample in samples], length),
        torch.tensor([sample.content.shape[-1] for sample in samples]),
        [sample.metadata.get("description") or "" for sample in samples],
        chroma,
        [sample.key for sample in samples],
        [sample.metadata for sample in samples],
    )


def _pad(parts: list[Tensor], length: int) -> Tensor:
    """Stack [C, n] tensors into [B, C, length], with zeros behind the short ones."""
    stacked = parts[0].new_empty(len(parts), parts[0].shape[0], length)
    for row, part in zip(stacked, parts, strict=True):
        assert part.shape[0] == row.shape[0] and part.shape[1] <= length, (part.shape, row.shape)
        row[:, : part.shape[-1]] = part
        row[:, part.shape[-1] :] = 0
    return stacked
