"""Where a track sounds: its level in short frames, and the stretches between long silences."""

from collections.abc import Iterable

import numpy as np
from torch import Tensor

from musicgen_train.data.audio_blocks import even_blocks

FRAME = 0.05  # seconds
_FLOOR = 1e-10  # RMS; -200 dB stands for nothing at all


def frame_length(sample_rate: int) -> int:
    """Samples of a frame."""
    return max(1, round(FRAME * sample_rate))


def frame_levels(blocks: Iterable[Tensor], sample_rate: int) -> np.ndarray:
    """RMS in dB of full scale of each frame of a track in blocks [C, n]; the last may be short."""
    length = frame_length(sample_rate)
    levels = [np.zeros(0)]
    for block in even_blocks(blocks, 1000 * length):
        squares = block.double().square().mean(dim=0).numpy()
        edges = np.arange(0, len(squares), length)
        sizes = np.diff(np.append(edges, len(squares)))
        rms = np.sqrt(np.add.reduceat(squares, edges) / sizes)
        levels.append(20 * np.log10(np.maximum(rms, _FLOOR)))
    return np.concatenate(levels)


def sounding(silent: np.ndarray, longest: int | None) -> tuple[list[tuple[int, int]], int]:
    """Stretches (first, last + 1) between silences longer than `longest`, and how many those are.

    silent: bool per frame. Without a `longest` silence nothing is cut out.
    """
    if longest is None or not len(silent):
        return [(0, len(silent))] if len(silent) else [], 0
    edges = np.flatnonzero(np.diff(np.concatenate([[False], silent, [False]]).astype(np.int8)))
    runs = [(int(a), int(b)) for a, b in edges.reshape(-1, 2) if b - a > longest]
    bounds = [0, *(edge for run in runs for edge in run), len(silent)]
    pairs = zip(bounds[::2], bounds[1::2], strict=True)
    return [(a, b) for a, b in pairs if a < b], len(runs)
