"""What a model makes of held-out prompts, and what an untrained one of its shape makes."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

import torch
from torch import Tensor, nn

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor, fit_length, one_hot
from musicgen_train.evaluation.embedders.identity import weights_digest
from musicgen_train.evaluation.held_out import Segment
from musicgen_train.lm.inference import prepare
from musicgen_train.lm.model import LanguageModel

M = TypeVar("M", bound=nn.Module)


@dataclass
class Parts:
    """The parts of a MusicGen that evaluation drives."""

    codec: Encodec | StereoCodec
    lm: LanguageModel
    text_encoder: Any = None
    chroma: ChromaExtractor | None = None

    def to(self, device: str | torch.device) -> Parts:
        """The parts on a device, moved in place."""
        for part in (self.codec, self.lm, self.text_encoder, self.chroma):
            if part is not None:
                part.to(device)
        return self

    def prepare(self) -> Parts:
        """The parts with a language model that generates faster from the same float32 weights."""
        assert self.identity  # which is of the weights as they are now
        prepare(self.lm)
        return self

    @property
    def device(self) -> torch.device:
        """Where the language model is."""
        return next(self.lm.parameters()).device

    @cached_property
    def identity(self) -> str:
        """64 hex digits of all that makes music: settings and weights, before `prepare`."""
        told = {"codec": self.codec.identity(), "lm": self.lm.config}
        told["chroma"] = self.chroma.config if self.chroma else None
        digest = hashlib.sha256(json.dumps(told, sort_keys=True, default=str).encode())
        for part in (self.lm, self.text_encoder):
            if isinstance(part, nn.Module):
                digest.update(weights_digest(part).encode())
        return digest.hexdigest()


@dataclass
class Sampling:
    """How clips are generated; seeds are seed, seed + 1, ... in the order of the prompts."""

    seed: int = 0
    batch_size: int = 8
    cfg_coef: float = 3.0
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0
    loudness: float | None = None  # LUFS that clips are brought to; None leaves them alone


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
        chroma = fit_length(one_hot(dense), parts.lm.config["chroma_length"]).to(parts.device)
    return text, chroma


@torch.inference_mode()
def generate_wavs(
    parts: Parts,
    segments: Sequence[Segment],
    duration: float,
    sampling: Sampling,
    first: int,
    with_melody: bool = False,
    on_progress: Callable[[float], None] = lambda share: None,
) -> Tensor:
    """One batch: a clip per prompt from its text, or from text and melody: -> wav [n, C, N].

    first: the place of the batch's first prompt among all, from which its seeds follow.
    """
    text, chroma = conditions(parts, segments, with_melody)
    codes = parts.lm.generate(
        round(duration * parts.codec.frame_rate),
        text,
        chroma,
        cfg_coef=sampling.cfg_coef,
        top_k=min(sampling.top_k, parts.lm.card),
        top_p=sampling.top_p,
        temperature=sampling.temperature,
        seeds=[sampling.seed + first + i for i in range(len(segments))],
        callback=lambda current, total: on_progress(current / total),
    )
    return parts.codec.decode(codes).cpu()


@torch.inference_mode()
def round_trip(codec: Encodec | StereoCodec, wavs: Tensor) -> tuple[Tensor, Tensor]:
    """Codes [n, K, T] of wavs [n, C, N] and what the codec makes of them, [n, C, N]."""
    codes = codec.encode(wavs)
    return codes, codec.decode(codes)[..., : wavs.shape[-1]]


@torch.inference_mode()
def code_nats(
    parts: Parts, codes: Tensor, segments: Sequence[Segment], with_melody: bool
) -> tuple[Tensor, Tensor]:
    """Nats of held-out codes [n, K, T] given their text (and melody), and how many codes: [K] each.

    Their ratio over all batches is the held-out cross entropy.
    """
    assert not parts.lm.training, "dropout would raise the cross entropy: call lm.eval()"
    logits, mask = parts.lm.logits(codes, *conditions(parts, segments, with_melody))
    log_p = logits.double().log_softmax(-1).gather(-1, codes[..., None])[..., 0]
    return -(log_p * mask).sum((0, 2)).cpu(), mask.sum((0, 2)).double().cpu()
