"""Everybody who listens in an evaluation, loaded before anything long begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import Any

import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.aesthetics import load_aesthetics
from musicgen_train.evaluation.embedders.clap import ClapEmbedder, load_clap
from musicgen_train.evaluation.embedders.codec_latents import CodecEmbedder
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.embedders.judge import load_judge
from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
from musicgen_train.evaluation.embedders.melody import ChromaEmbedder
from musicgen_train.evaluation.embedders.mert import load_mert
from musicgen_train.evaluation.embedders.passt_embedder import load_passt
from musicgen_train.evaluation.embedders.vggish import load_vggish
from musicgen_train.evaluation.protocol import METRICS, Protocol

DISTANCES = ("fad", "kad", "coverage")
MELODY_RATE = 32_000  # samples/s at which chroma is heard where no model says another


@dataclass
class Listeners:
    """Who hears the clips for which metrics."""

    protocol: Protocol
    metrics: tuple[str, ...]  # those of the protocol that can be measured
    left_out: dict[str, str] = field(default_factory=dict)  # the others, and why
    embedders: list[Embedder] = field(default_factory=list)
    tagger: Embedder | None = None
    clap: ClapEmbedder | None = None
    text_judge: JudgeEmbedder | None = None
    chroma: ChromaEmbedder | None = None
    aesthetics: Embedder | None = None
    long_judge: JudgeEmbedder | None = None  # of pieces that nobody else hears

    @property
    def everybody(self) -> list[Embedder]:
        """Each listener to clips once."""
        beside = (self.tagger, self.clap, self.text_judge, self.chroma, self.aesthetics)
        every = [*self.embedders, *(one for one in beside if one is not None)]
        return list({id(one): one for one in every}.values())

    @property
    def judge(self) -> JudgeEmbedder | None:
        """The judge, if it listens for any metric."""
        return next((one for one in self.everybody if isinstance(one, JudgeEmbedder)), None)


def possible_metrics(
    protocol: Protocol, impossible: Mapping[str, str], asked: bool
) -> tuple[tuple[str, ...], dict[str, str]]:
    """The protocol's metrics without the impossible ones, and those with their reasons.

    asked: the user named the metrics, so an impossible one is refused instead.
    """
    left_out = {name: why for name, why in impossible.items() if name in protocol.metrics}
    if left_out and asked:
        name, why = next(iter(left_out.items()))
        raise UserError(f"metrics names {name}, which needs {METRICS[name]}: {why}")
    metrics = tuple(name for name in protocol.metrics if name not in left_out)
    if not metrics:
        raise UserError(f"nothing can be measured: {'; '.join(left_out.values())}")
    return metrics, left_out


def load_listeners(
    protocol: Protocol,
    metrics: tuple[str, ...],
    left_out: dict[str, str],
    weights: Mapping[str, Any],
    check: bool,
    codec: Encodec | StereoCodec | None = None,
    chroma: ChromaExtractor | None = None,
    device: str | torch.device = "cpu",
    long_form: bool = False,
) -> Listeners:
    """Load what the metrics need; UserError names the weights that are missing.

    weights: paths by name, None for those that are downloaded. check: refuse weights other than
    the published ones. codec, chroma: those of the model that is evaluated, if there is one.
    long_form: long pieces are heard too.
    """
    loaders = _loaders(protocol, weights, check, codec, "clap" in metrics, device)
    load = cache(lambda name: loaders[name]())  # who listens for two metrics is there once
    found = Listeners(protocol, metrics, left_out)
    if any(name in metrics for name in DISTANCES):
        found.embedders = [load(name) for name in protocol.embedders]
    if "kl" in metrics:
        found.tagger = load(protocol.tagger)
    if "clap" in metrics:
        found.clap = load("clap")
    if "text" in metrics:
        found.text_judge = load("judge")
    if long_form:
        found.long_judge = load("judge")
    if "aesthetics" in metrics:
        found.aesthetics = load("aesthetics")
    if "chroma" in metrics:
        found.chroma = ChromaEmbedder(
            chroma or ChromaExtractor(MELODY_RATE), device, protocol.compat
        )
    return found


def _loaders(
    protocol: Protocol,
    weights: Mapping[str, Any],
    check: bool,
    codec: Encodec | StereoCodec | None,
    with_text: bool,
    device: str | torch.device,
) -> dict[str, Callable[[], Any]]:
    """How to load each embedder."""
    compat, tokenizer = protocol.compat, weights.get("clap_tokenizer")
    return {
        "vggish": lambda: load_vggish(weights["vggish"], check, compat, device),
        "passt": lambda: load_passt(weights["passt"], check, compat=compat, device=device),
        "clap": lambda: load_clap(weights["clap"], check, tokenizer, compat, device, with_text),
        "mert": lambda: load_mert(weights["mert"], check, device=device),
        "aesthetics": lambda: load_aesthetics(weights["aesthetics"], device),
        "codec": lambda: _codec_embedder(codec, device),
        "judge": lambda: JudgeEmbedder(load_judge(weights["judge"]), device),
    }


def _codec_embedder(
    codec: Encodec | StereoCodec | None, device: str | torch.device
) -> CodecEmbedder:
    if codec is None:
        raise UserError("embedders=[codec] needs the codec of a model: give ckpt=MODEL")
    return CodecEmbedder(codec.mono if isinstance(codec, StereoCodec) else codec, device)
