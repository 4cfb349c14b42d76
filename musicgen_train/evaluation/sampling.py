"""What a model makes of held-out prompts, and what an untrained one of its shape makes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor, fit_length, one_hot
from musicgen_train.evaluation.held_out import Segment
from musicgen_train.lm.model import LanguageModel

M = TypeVar("M", bound=nn.Module)


@dataclass
class Parts:
    """The parts of a MusicGen that evaluation drives."""

    codec: Encodec | StereoCodec
    lm: LanguageModel
    text_encoder: Any = None
    chroma: ChromaExtractor | None = None


@dataclass
class Sampling:
    """How clips are generated; seeds are seed, seed + 1, ... in the order of the prompts."""

    seed: int = 0
    batch_size: int = 8
    cfg_coef: float = 3.0
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0


def untrained_like(module: M, seed: int) -> M:
    """A module of the same shape with fresh random weights."""
    if isinstance(module, StereoCodec):
        return type(module)(untrained_like(module.mono, seed))
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return type(module)(**module.config).eval()  # type: ignore[operator,arg-type]


def untrained_parts(parts: Parts, seed: int) -> Parts:
    """The same codec under an untrained language model and, if it was trained with it, encoder."""
    encoder = parts.text_encoder
    # A frozen pretrained encoder belongs to the untrained model as much as to the trained one.
    if isinstance(encoder, nn.Module) and any(p.requires_grad for p in encoder.parameters()):
        encoder = untrained_like(encoder, seed)
    return Parts(parts.codec, untrained_like(parts.lm, seed), encoder, parts.chroma)


def conditions(
    parts: Parts, segments: Sequence[Segment], with_melody: bool
) -> tuple[tuple[Tensor, Tensor] | None, Tensor | None]:
    """Text embedding with mask, and one-hot chroma, of a batch of prompts."""
    text, chroma = None, None
    if parts.text_encoder is not None:
        text = parts.text_encoder([segment.description for segment in segments])
    if with_melody:
        dense = torch.stack([s.chroma for s in segments if s.chroma is not None])
        chroma = fit_length(one_hot(dense), parts.lm.config["chroma_length"])
    return text, chroma


def batches(segments: Sequence[Segment], size: int) -> Iterator[Sequence[Segment]]:
    """Consecutive groups of at most `size`."""
    for start in range(0, len(segments), size):
        yield segments[start : start + size]


@torch.inference_mode()
def generate_wavs(
    parts: Parts,
    segments: Sequence[Segment],
    duration: float,
    sampling: Sampling,
    with_melody: bool = False,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """One clip per prompt from its text, or from text and melody: -> wav [n, C, N]."""
    n_frames = round(duration * parts.codec.frame_rate)
    made: list[Tensor] = []
    for batch in batches(segments, sampling.batch_size):
        done = sum(len(wav) for wav in made)

        def step(current: int, total: int, done: int = done, size: int = len(batch)) -> None:
            on_progress((done + size * current / total) / len(segments))

        text, chroma = conditions(parts, batch, with_melody)
        codes = parts.lm.generate(
            n_frames,
            text,
            chroma,
            cfg_coef=sampling.cfg_coef,
            top_k=min(sampling.top_k, parts.lm.card),
            top_p=sampling.top_p,
            temperature=sampling.temperature,
            seeds=[sampling.seed + done + i for i in range(len(batch))],
            callback=step,
        )
        made.append(parts.codec.decode(codes))
    return torch.cat(made)


@torch.inference_mode()
def round_trip(
    codec: Encodec | StereoCodec, wavs: Tensor, batch_size: int = 8
) -> tuple[Tensor, Tensor]:
    """Codes [n, K, T] of wavs [n, C, N] and what the codec makes of them, [n, C, N]."""
    codes, recons = [], []
    for wav in wavs.split(batch_size):
        codes.append(codec.encode(wav))
        recons.append(codec.decode(codes[-1])[..., : wav.shape[-1]])
    return torch.cat(codes), torch.cat(recons)


@torch.inference_mode()
def held_out_cross_entropy(
    parts: Parts, codes: Tensor, segments: Sequence[Segment], with_melody: bool, batch_size: int = 8
) -> Tensor:
    """Mean nats per code of held-out codes [n, K, T] given their text (and melody): -> [K]."""
    lm = parts.lm
    assert not lm.training, "dropout would raise the cross entropy: call lm.eval()"
    nats = torch.zeros(lm.n_q, dtype=torch.float64)
    counted = torch.zeros_like(nats)
    for batch, group in zip(codes.split(batch_size), batches(segments, batch_size), strict=True):
        logits, mask = lm.logits(batch, *conditions(parts, group, with_melody))
        log_p = logits.double().log_softmax(-1).gather(-1, batch[..., None])[..., 0]
        nats -= (log_p * mask).sum((0, 2))
        counted += mask.sum((0, 2))
    return nats / counted
