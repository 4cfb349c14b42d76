"""Music of any length: the language model's window slides over it, and codes come out in pieces.

A window of `size` frames begins with what the one before it left of its end:

    music    0 1 2 3 4 5 6 7 8 9
    window   [0 1 2 3 4]              all generated
             slides by 3  [3 4 5 6 7]      3 and 4 are known
                                 [6 7 8 9]  6 and 7 are known
"""

from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import closing
from math import ceil
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicgen_train.lm.fusing import TextCondition
from musicgen_train.lm.model import LanguageModel
from musicgen_train.melody import Melodies


class Request(NamedTuple):
    """The music that is asked for: B samples."""

    lengths: Sequence[int]  # frames of each, the prompt's included
    seeds: Sequence[int]
    text: TextCondition | None = None
    negative_text: TextCondition | None = None
    melodies: Melodies | None = None
    prompt: Tensor | None = None  # [B, K, T0], T0 below every length


class Window(NamedTuple):
    """Frames `start` to `end` are the language model's; those before `known` are there already."""

    start: int
    known: int
    end: int


@torch.no_grad()
def compose(
    lm: LanguageModel,
    request: Request,
    *,
    size: int,
    stride: int,
    frame_rate: float,
    piece: int,
    sampling: dict[str, Any],
    report: Callable[[int, int], None],
) -> Generator[Tensor, None, None]:
    """Generate codes [B, K, n], `piece` frames at a time, the prompt's first; the last may be less.

    Behind its end a sample holds the special token. `report` gets (frames done, frames in all)
    after every step of the language model. Closing the generator cancels.
    """
    codes = canvas(lm, request)
    total = codes.shape[-1]
    available = 0 if request.prompt is None else request.prompt.shape[-1]
    sent = 0
    for window in windows(total, available, size, stride):
        while available - sent >= piece:  # of the prompt, before anything is generated
            yield codes[..., sent : sent + piece]
            sent += piece
        rows = [row for row, n in enumerate(request.lengths) if n > window.known]
        with closing(window_steps(lm, request, codes, window, rows, frame_rate, sampling)) as steps:
            for progress in steps:
                report(min(window.known + progress.done, window.end), total)
                available = window.start + progress.frames
                if available - sent >= piece or progress.done == progress.total:
                    codes[rows, :, window.start : available] = progress.codes()
                while available - sent >= piece:
                    yield codes[..., sent : sent + piece]
                    sent += piece
    if sent < total:
        yield codes[..., sent:]


def window_steps(
    lm: LanguageModel,
    request: Request,
    codes: Tensor,
    window: Window,
    rows: list[int],
    frame_rate: float,
    sampling: dict[str, Any],
) -> Generator[Any, None, None]:
    """The language model's steps over a window, for the samples that reach into it."""
    chroma = None
    if request.melodies is not None:
        chroma = request.melodies.window(rows, window.start / frame_rate)
    return lm.steps(
        [min(request.lengths[row], window.end) - window.start for row in rows],
        rows_of(request.text, rows),
        chroma,
        negative_text=rows_of(request.negative_text, rows),
        prompt=codes[rows, :, window.start : window.known] if window.known > window.start else None,
        seeds=[window_seed(request.seeds[row], window.start) for row in rows],
        **sampling,
    )


def windows(total: int, known: int, size: int, stride: int) -> Iterator[Window]:
    """Windows of at most `size` frames that cover `known` to `total`, each beside the one before.

    A window begins at a multiple of `stride`. A prompt longer than a window is kept whole: the
    first window then begins inside it.
    """
    start = 0
    while known < total:
        while known - start >= size:
            start += stride
        end = min(start + size, total)
        yield Window(start, known, end)
        known = end


def last_start(total: int, size: int, stride: int) -> int:
    """Where the last window over `total` frames begins."""
    return max(0, ceil((total - size) / stride)) * stride


def canvas(lm: LanguageModel, request: Request) -> Tensor:
    """The codes before generation [B, K, longest]: the prompt, and special tokens."""
    shape = (len(request.lengths), lm.n_q, max(request.lengths))
    codes = torch.full(shape, lm.special_token_id, dtype=torch.long, device=lm.device)
    if request.prompt is not None:
        codes[..., : request.prompt.shape[-1]] = request.prompt
    return codes


def rows_of(text: TextCondition | None, rows: list[int]) -> TextCondition | None:
    """Some samples' texts; None if none of them has one."""
    if text is None or not text[1][rows].any():
        return None
    return text[0][rows], text[1][rows]


def window_seed(seed: int, start: int) -> int:
    """A seed for the window at frame `start`: the first keeps the sample's own."""
    return (seed + start * 0x9E3779B97F4A7C15) % 2**63
