"""Pieces that are longer than the model's window, made as users make them: it slides."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from musicgen_train.decoding import decode_rows
from musicgen_train.evaluation.held_out import Segment
from musicgen_train.evaluation.making import Figures, Kind, Progress, level
from musicgen_train.evaluation.sampling import Parts, Sampling, conditions
from musicgen_train.generation_params import GenerationParams, frames_in
from musicgen_train.long_form import Request, compose

PART = 8.0  # seconds, about: how finely a piece is looked at
QUARTERS = 4


@dataclass(frozen=True)
class LongForm:
    """How long pieces are made; a piece is looked at in parts, equally many in each quarter."""

    duration: float  # seconds
    n_pieces: int
    window: float  # seconds that the model takes at once

    @property
    def n_parts(self) -> int:
        """A multiple of four."""
        return QUARTERS * max(1, round(self.duration / PART / QUARTERS))

    @property
    def kind(self) -> str:
        """The folder of the clips: those of another duration are other clips."""
        return f"long_{self.duration:g}s"


def long_pieces(
    parts: Parts, prompts: Sequence[Segment], long_form: LongForm, sampling: Sampling
) -> Kind:
    """Pieces of the first prompts, from their texts alone, under the seeds of their clips."""
    n_frames = frames_in(long_form.duration, parts.codec.frame_rate)
    params = GenerationParams(
        top_k=min(sampling.top_k, parts.lm.card),
        top_p=sampling.top_p,
        temperature=sampling.temperature,
        cfg_coef=sampling.cfg_coef,
    )

    def make(batch: Sequence[Segment], first: int, progress: Progress) -> tuple[Tensor, Figures]:
        seeds = [sampling.seed + first + i for i in range(len(batch))]
        request = Request([n_frames] * len(batch), seeds, conditions(parts, batch, False)[0])
        (codes,) = compose(
            parts.lm,
            request,
            size=round(long_form.window * parts.codec.frame_rate),
            stride=params.stride(long_form.window, parts.codec.frame_rate),
            frame_rate=parts.codec.frame_rate,
            piece=n_frames,
            sampling=params.sampling(),
            report=lambda done, total: progress(done / total),
        )
        wavs = torch.stack(decode_rows(parts.codec, [*codes])).cpu()
        return level(wavs, parts.codec.sample_rate, sampling.loudness), {}

    title = f"Generating {long_form.duration:g} s"
    segments = prompts[: long_form.n_pieces]
    return Kind(long_form.kind, title, segments, torch.inference_mode()(make))
