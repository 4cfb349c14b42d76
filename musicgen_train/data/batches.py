"""What a training step receives: batches of codes or of audio, and how samples become one."""

from collections.abc import Iterable
from typing import Any, NamedTuple

import torch
from torch import Tensor


class Sample(NamedTuple):
    """One cropped segment, not yet padded."""

    content: Tensor  # codes [K, T] int64 or wav [C, N] float32
    chroma: Tensor | None  # [F, 12] float32
    metadata: dict[str, Any]  # the sample's json: description, genre, moods, bpm, …
    key: str
    seed: int = 0  # of what is drawn for it in training


class CodesBatch(NamedTuple):
    """One batch of music as codec codes."""

    codes: Tensor  # [B, K, T] int64 in [0, card); 0 where padded
    lengths: Tensor  # [B] valid codec frames; the rest of T is padding
    descriptions: list[str]  # "" where the metadata has none
    chroma: Tensor | None  # [B, F, 12] float32, max-normalised; zeros where padded
    keys: list[str]
    metadata: list[dict[str, Any]]
    seeds: list[int]  # of all that is drawn for a sample in training; its place in the data's


class AudioBatch(NamedTuple):
    """One batch of music as audio."""

    wav: Tensor  # [B, C, N] float32; 0 where padded
    lengths: Tensor  # [B] valid samples; the rest of N is padding
    descriptions: list[str]
    chroma: Tensor | None  # [B, F, 12] float32, max-normalised; zeros where padded
    keys: list[str]
    metadata: list[dict[str, Any]]
    seeds: list[int]


def collate(
    samples: Iterable[Sample],
    n_samples: int,
    kind: type[CodesBatch] | type[AudioBatch],
    length: int,
    n_chroma: int,
) -> CodesBatch | AudioBatch | None:
    """Pad samples to `length` frames (codes) or samples (audio), chroma to `n_chroma` frames.

    Of the `n_samples` that there is room for some may not come; None if none does. Each is copied
    when it comes, so that the memory it was decoded into serves the next one.
    """
    content, lengths, keys, metadata, seeds = None, [], [], [], []
    chroma = torch.empty(n_samples, n_chroma, 12) if n_chroma else None
    for row, sample in enumerate(samples):
        if content is None:
            content = sample.content.new_empty(n_samples, sample.content.shape[0], length)
        _fill(content[row], sample.content)
        if chroma is not None:
            assert sample.chroma is not None, sample.key
            _fill(chroma[row].T, sample.chroma.T)
        lengths.append(sample.content.shape[-1])
        keys.append(sample.key)
        metadata.append(sample.metadata)
        seeds.append(sample.seed)
    if content is None:
        return None
    return kind(
        content[: len(keys)],
        torch.tensor(lengths),
        [entry.get("description") or "" for entry in metadata],
        None if chroma is None else chroma[: len(keys)],
        keys,
        metadata,
        seeds,
    )


def _fill(row: Tensor, part: Tensor) -> None:
    """Copy a [C, n] tensor into a [C, length] one, with zeros behind it.

    NumPy copies a short and wide one in a quarter of torch's time.
    """
    n = part.shape[-1]
    assert part.shape[0] == row.shape[0] and n <= row.shape[-1], (part.shape, row.shape)
    row.numpy()[:, :n] = part.numpy()
    row.numpy()[:, n:] = 0
