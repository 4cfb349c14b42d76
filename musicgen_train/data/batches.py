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
        chroma = torch.stack(
            [_pad(sample.chroma.T, n_chroma).T for sample in samples if sample.chroma is not None]
        )
    return kind(
        torch.stack([_pad(sample.content, length) for sample in samples]),
        torch.tensor([sample.content.shape[-1] for sample in samples]),
        [sample.metadata.get("description") or "" for sample in samples],
        chroma,
        [sample.key for sample in samples],
        [sample.metadata for sample in samples],
    )


def _pad(x: Tensor, length: int) -> Tensor:
    assert x.shape[-1] <= length, (x.shape, length)
    return torch.nn.functional.pad(x, (0, length - x.shape[-1]))
