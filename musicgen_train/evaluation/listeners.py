"""Everybody who listens in an evaluation, loaded before anything long begins."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cache
from typing import TYPE_CHECKING, Any

import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.codec_latents import CodecEmbedder
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.embedders.judge import load_judge
from musicgen_train.evaluation.embedders.judge_embedder import JudgeEmbedder
from musicgen_train.evaluation.embedders.melody import ChromaEmbedder
from musicgen_train.evaluation.protocol import METRICS, Protocol

if TYPE_CHECKING:
    from musicgen_train.evaluation.embedders.clap import ClapEmbedder

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

    @property
    def everybody(self) -> list[Embedder]:
        """Each listener once."""
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
) -> Listeners:
    """Load what the metrics need; UserError names the weights that are missing.

    weights: paths by name, None for those that are downloaded. check: refuse weights other than
    the published ones. codec, chroma: those of the model that is evaluated, if there is one.
    """
    load = cache(_loader(protocol, weights, check, codec, "clap" in metrics, device))
    found = Listeners(protocol, metrics, left_out)
    if any(name in metrics for name in DISTANCES):
        found.embedders = [load(name) for name in protocol.embedders]
    if "kl" in metrics:
        found.tagger = load(protocol.tagger)
    if "clap" in metrics:
        found.clap = load("clap")
    if "text" in metrics:
        found.text_judge = load("judge")
    if "aesthetics" in metrics:
        found.aesthetics = load("aesthetics")
    if "chroma" in metrics:
        found.chroma = ChromaEmbedder(chroma or ChromaExtractor(MELODY_RATE), device)
    return found


def _loader(
    protocol: Protocol,
    weights: Mapping[str, Any],
    check: bool,
    codec: Encodec | StereoCodec | None,
    with_text: bool,
    device: str | torch.device,
) -> Callable[[str], Any]:
    """A function that loads an embedder by its name."""
    compat = protocol.compat

    def load(name: str) -> Any:
        if name == "vggish":
            from musicgen_train.evaluation.embedders.vggish import load_vggish

            return load_vggish(weights["vggish"], check, compat, device)
        if name == "passt":
            from musicgen_train.evaluation.embedders.passt_embedder import load_passt

            return load_passt(weights["passt"], check, compat=compat, device=device)
        if name == "clap":
            from musicgen_train.evaluation.embedders.clap import load_clap

            tokenizer = weights["clap_tokenizer"]
            return load_clap(weights["clap"], check, tokenizer, compat, device, text=with_text)
        if name == "mert":
            from musicgen_train.evaluation.embedders.mert import load_mert

            return load_mert(weights["mert"], check, device=device)
        if name == "aesthetics":
            from musicgen_train.evaluation.embedders.aesthetics import load_aesthetics

            return load_aesthetics(weights["aesthetics"], device=device)
        if name == "codec":
            if codec is None:
                raise UserError("embedders=[codec] needs the codec of a model: give ckpt=MODEL")
            return CodecEmbedder(codec.mono if isinstance(codec, StereoCodec) else codec, device)
        assert name == "judge", name
        return JudgeEmbedder(load_judge(weights["judge"]), device)

    return load
