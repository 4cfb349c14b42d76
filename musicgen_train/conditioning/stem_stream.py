"""Stems of a track of any length: the separator's windows, overlapped and added as they come."""

from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from itertools import tee
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

OVERLAP = 0.25  # of a window, as demucs does by itself


class Level(NamedTuple):
    """What a track is normalised by: mean and standard deviation of its mono mix."""

    centre: float
    spread: float


def measure_level(blocks: Iterable[Tensor]) -> Level:
    """The level of a track that comes in blocks [C, n]."""
    n_samples, total, squares = 0, 0.0, 0.0
    for block in blocks:
        mono = block.double().mean(dim=0)
        n_samples += len(mono)
        total += mono.sum().item()
        squares += mono.square().sum().item()
    if not n_samples:
        return Level(0.0, 1.0)
    variance = (squares - total**2 / n_samples) / max(1, n_samples - 1)
    return Level(total / n_samples, max(max(variance, 0.0) ** 0.5, 1e-8))


def stream_stems(
    model: Any,
    blocks: Iterable[Tensor],
    level: Level,
    device: str | torch.device = "cpu",
    batch_size: int = 1,
) -> Iterator[Tensor]:
    """Yield the stems [S, C, n] of a track in blocks [C, n], at the separator's rate and channels.

    They equal those of `demucs.apply.apply_model(shifts=0, split=True, overlap=0.25)` on the whole
    track; memory holds a few windows, and `batch_size` of them go through the model at once.
    """
    mix = ((block - level.centre) / level.spread for block in blocks)
    weights = torch.tensor(model.weights)[:, :, None, None]  # [model of the bag, S, 1, 1]
    with _on_device(model, device):
        streams = [
            _even(_overlap_add(part, copy, batch_size, device), model.samplerate)
            for part, copy in zip(model.models, tee(mix, len(model.models)), strict=True)
        ]
        for pieces in zip(*streams, strict=True):
            mean = (weights * torch.stack(pieces)).sum(0) / weights.sum(0)
            yield mean * level.spread + level.centre


class _Window(NamedTuple):
    """What a model hears at once: `n_samples` of the track in the middle of [C, valid length]."""

    mix: Tensor
    n_samples: int


def _overlap_add(
    model: Any, blocks: Iterable[Tensor], batch_size: int, device: str | torch.device
) -> Iterator[Tensor]:
    """Stems [S, C, n] of one model, windows faded into each other; n is a stride, at last less."""
    length, stride = _lengths(model)
    fade = torch.cat([torch.arange(1, length // 2 + 1), torch.arange(length - length // 2, 0, -1)])
    fade = fade / fade.max()
    added = torch.zeros(len(model.sources), model.audio_channels, length)
    weight = torch.zeros(length)
    for window, stems in _separated(model, _windows(model, blocks), batch_size, device):
        n = window.n_samples
        added[..., :n] += fade[:n] * stems
        weight[:n] += fade[:n]
        done = min(n, stride)  # later windows begin behind it
        yield added[..., :done] / weight[:done]
        added = F.pad(added[..., stride:], (0, stride))
        weight = F.pad(weight[stride:], (0, stride))


def _separated(
    model: Any, windows: Iterator[_Window], batch_size: int, device: str | torch.device
) -> Iterator[tuple[_Window, Tensor]]:
    """Each window with its stems [S, C, n_samples], computed in batches of equally long ones."""
    last = next(windows, None)
    while last is not None:
        batch, last = [last], next(windows, None)
        while last is not None and len(batch) < batch_size and last.mix.shape == batch[0].mix.shape:
            batch.append(last)
            last = next(windows, None)
        with torch.no_grad():
            found = model(torch.stack([window.mix for window in batch]).to(device)).cpu()
        for window, stems in zip(batch, found, strict=True):
            before = (stems.shape[-1] - window.n_samples) // 2
            yield window, stems[..., before : before + window.n_samples]


def _windows(model: Any, blocks: Iterable[Tensor]) -> Iterator[_Window]:
    """The windows of a track, the last ones filled up with what precedes them, and zeros."""
    length, stride = _lengths(model)
    reach = length + _filling(model, length)  # samples that a window may need
    source, held, begin, offset = iter(blocks), torch.zeros(0), 0, 0  # held[..., 0] is at `begin`
    while True:
        arrived = [held] if held.numel() else []
        end = begin + held.shape[-1]
        while end < offset + reach and (block := next(source, None)) is not None:
            arrived.append(block)
            end += block.shape[-1]
        if offset >= end:
            return
        held = torch.cat(arrived, dim=-1)
        n_samples = min(length, end - offset)
        filling = _filling(model, n_samples)
        first = offset - filling // 2
        last = first + n_samples + filling
        mix = held[..., max(0, first) - begin : min(last, end) - begin]
        yield _Window(F.pad(mix, (max(0, -first), max(0, last - end))), n_samples)
        offset += stride
        keep = max(begin, offset - length)
        held, begin = held[..., keep - begin :], keep


def _lengths(model: Any) -> tuple[int, int]:
    """Samples of a window, and from one window to the next."""
    length = int(model.samplerate * model.segment)
    return length, int((1 - OVERLAP) * length)


def _filling(model: Any, n_samples: int) -> int:
    """Samples that a window of so many needs around it."""
    return model.valid_length(n_samples) - n_samples if hasattr(model, "valid_length") else 0


def _even(pieces: Iterable[Tensor], size: int) -> Iterator[Tensor]:
    """The same samples in pieces of one size, so that the models of a bag keep step."""
    held = None
    for piece in pieces:
        held = piece if held is None else torch.cat([held, piece], dim=-1)
        while held.shape[-1] >= size:
            yield held[..., :size]
            held = held[..., size:]
    if held is not None and held.shape[-1]:
        yield held


@contextmanager
def _on_device(model: torch.nn.Module, device: str | torch.device) -> Iterator[None]:
    """Move a model, and take it back afterwards: generation needs the memory for itself."""
    home = next(model.parameters()).device
    model.to(device)
    try:
        yield
    finally:
        model.to(home)
