"""Codes of many texts in fixed batches, each of which is kept when it is done."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from recipes.finetuning.stage import Work

if TYPE_CHECKING:
    from torch import Tensor

    from musicgen_train.musicgen import MusicGen


class Request(NamedTuple):
    """One clip that is asked for."""

    key: str
    text: str
    seed: int


def generate_codes(
    model: MusicGen, asked: Sequence[Request], duration: float, work: Work, kept: Path
) -> Iterator[tuple[Sequence[Request], Tensor]]:
    """Batch after batch with its codes [n, K, T]; those in the folder `kept` are read from there.

    The batches are the same whatever is there, so a run that was killed gives the same codes.
    """
    from musicgen_train.formats.files import read_tensors, write_tensors
    from musicgen_train.progress import reporting

    size, total = work.generation_batch, len(asked)
    n_frames = max(1, round(duration * model.frame_rate))
    with reporting(None, True) as report:

        def tell(done: int) -> None:
            report(done, total * n_frames)
            work.status.progress(done / (total * n_frames))

        for first in range(0, total, size):
            path, batch = kept / f"{first:05d}.safetensors", asked[first : first + size]
            if not path.is_file():
                codes = generate(
                    model, batch, n_frames, work,
                    lambda step, batch=batch, first=first: tell(
                        first * n_frames + step * len(batch)
                    ),
                )  # fmt: skip
                write_tensors({"codes": codes}, path)
            yield batch, read_tensors(path)["codes"]


def generate(
    model: MusicGen,
    batch: Sequence[Request],
    n_frames: int,
    work: Work,
    tell: Callable[[int], None],
) -> Tensor:
    """Codes [n, K, T] of one batch, each by its seed."""
    import torch

    sampling = dict(work.settings.sampling)
    text = None
    with torch.inference_mode():
        if model.text_encoder is not None and any(request.text for request in batch):
            text = model.text_encoder([request.text for request in batch])
        codes = model.lm.generate(
            n_frames,
            text,
            None,
            cfg_coef=sampling["cfg_coef"],
            top_k=min(sampling["top_k"], model.lm.card),
            temperature=sampling["temperature"],
            seeds=[request.seed for request in batch],
            callback=lambda done, _: tell(min(done, n_frames)),  # the last frames are delayed
        )
    return codes.cpu()


def ready(model: MusicGen, work: Work) -> MusicGen:
    """The model where it generates, and fast; it cannot be trained any more."""
    model = model.to(work.device.kind)
    model.prepare()
    return model
