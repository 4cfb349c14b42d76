"""Audio of any length as the overlapping frames that estimators look at."""

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor

from musicgen_train.data.audio_blocks import resample_blocks

_AT_ONCE = 256  # frames


def mono_frames(
    blocks: Iterable[Tensor], sample_rate: int, rate: int, window: int, hop: int
) -> Iterator[Tensor]:
    """Frames [n, window] at `rate` of blocks [C, n]: the same ones for blocks of any sizes.

    What is left at the end is no frame.
    """
    mono = (block.float().mean(0, keepdim=True) for block in blocks)
    chunk = window + (_AT_ONCE - 1) * hop
    held = torch.zeros(0)
    for block in resample_blocks(mono, sample_rate, rate):
        held = torch.cat([held, block[0]])
        while len(held) >= chunk:
            yield held[:chunk].unfold(0, window, hop)
            held = held[_AT_ONCE * hop :]
    if len(held) >= window:
        yield held.unfold(0, window, hop)
