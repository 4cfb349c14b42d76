"""Lightning training of the language model on cached codes."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musicgen_train.conditioning.chroma import ChromaExtractor, one_hot
from musicgen_train.conditioning.dropout import drop_conditions, drop_words
from musicgen_train.conditioning.merging import merge_metadata
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.data.batches import CodesBatch
from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_musicgen, save_musicgen
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from musicgen_train.training.checkpoints import load_partially
from musicgen_train.training.estimate import StepEstimate, estimate_step


def cross_entropy(logits: Tensor, codes: Tensor, mask: Tensor) -> Tensor:
    """Mean cross entropy of each codebook over its valid positions, in nats: -> [K].

    logits [B, K, T, card], codes [B, K, T], mask [B, K, T] bool.
    """
    ce = F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none").view_as(mask)
    return (ce * mask).sum((0, 2)) / mask.sum((0, 2)).clamp_min(1)


class MusicGenModule(L.LightningModule):
    """Train a `LanguageModel`, and a text encoder that has parameters, on batches of codes.

    All random draws of a step follow from (seed, batch index, rank): they differ between samples
    and ranks, and a resumed run repeats them without any saved state.
    """

    def __init__(
        self,
        lm: LanguageModel,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        text_encoder: WordTextEncoder | T5TextEncoder | None = None,
        chroma: ChromaExtractor | None = None,
        *,
        merging: dict[str, float],
        dropout: dict[str, float],
        seed: int = 0,
        name: str = "musicgen",
        codec_path: str | None = None,
        max_duration: float = 30.0,
    ):
        super().__init__()
        self.lm = lm
        self.text_encoder = text_encoder
        self.chroma = chroma
        self.optimizer = optimizer
        self.schedule = schedule
        self.merging = merging
        self.dropout = dict(dropout)
        self.word_dropout = self.dropout.pop("word_dropout")
        self.seed = seed
        self.name = name
        self.codec_path = codec_path
        self.max_duration = max_duration

    def check(self, datamodule: MusicDataModule, trainer: L.Trainer) -> None:
        """Refuse a dataset whose chroma is not what the model will be conditioned on."""
        if self.chroma is None:
            return
        made = datamodule.index.info["chroma"]
        for name in ("window", "hop", "n_chroma"):
            if made[name] != self.chroma.config[name]:
                raise UserError(
                    f"chroma {name} of the dataset is {made[name]}, but conditioning.chroma says "
                    f"{self.chroma.config[name]}: prepare the music with the latter, or change it"
                )
        rate = self.chroma.sample_rate / self.chroma.hop / datamodule.index.info["frame_rate"]
        if self.lm.config["fuse_chroma"] == "sum" and abs(rate - self.lm.chroma_rate) > 1e-6:
            raise UserError(
                f"the dataset has {rate:g} chroma frames per codec frame, but "
                f"conditioning.chroma_rate says {self.lm.chroma_rate:g}: set it to the former"
            )

    def estimate(self, datamodule: MusicDataModule) -> StepEstimate:
        """Memory and time of a step on batches of this shape; nothing is trained."""
        n_frames = round(datamodule.duration * datamodule.index.info["frame_rate"])
        rng = torch.Generator().manual_seed(0)

        def loss(size: int) -> Tensor:
            codes = torch.randint(self.lm.card, (size, self.lm.n_q, n_frames), generator=rng)
            n_chroma = self.lm.config["chroma_length"] if self.chroma is not None else 0
            chroma = torch.zeros(size, n_chroma, 12, device=self.device) if n_chroma else None
            texts = ["music"] * size
            lengths = torch.full((size,), n_frames, device=self.device)
            batch = CodesBatch(codes.to(self.device), lengths, texts, chroma, texts, [{}] * size)
            return self.cross_entropies(batch, texts, chroma).mean()

        return estimate_step(self, loss, datamodule.batch_size, self.device)

    def training_step(self, batch: CodesBatch, batch_idx: int) -> Tensor:
        texts, chroma = self.draw_conditions(batch, batch_idx)
        ce = self.cross_entropies(batch, texts, chroma)
        self.log("train/ce", ce.mean().detach(), prog_bar=True)
        return ce.mean()

    def validation_step(self, batch: CodesBatch, batch_idx: int) -> None:
        ce = self.cross_entropies(batch, batch.descriptions, batch.chroma)
        size = {"batch_size": len(batch.keys), "sync_dist": True}
        self.log("valid/ce", ce.mean(), **size)
        self.log_dict({f"valid/ce_q{k}": value for k, value in enumerate(ce)}, **size)

    def cross_entropies(self, batch: CodesBatch, texts: list[str], chroma: Tensor | None) -> Tensor:
        """Cross entropy of each codebook under the given conditions: [K] nats."""
        text = self.text_encoder(texts) if self.text_encoder is not None else None
        melody = one_hot(chroma) if self.chroma is not None and chroma is not None else None
        logits, mask = self.lm.logits(batch.codes, text=text, chroma=melody)
        frame = torch.arange(batch.codes.shape[-1], device=mask.device)
        return cross_entropy(logits, batch.codes, mask & (frame < batch.lengths[:, None, None]))

    def draw_conditions(self, batch: CodesBatch, batch_idx: int) -> tuple[list[str], Tensor | None]:
        """The conditions this step trains on: metadata merged in, words and conditions dropped."""
        rng = torch.Generator().manual_seed(
            (self.seed * 1_000_003 + batch_idx) * self.trainer.world_size + self.global_rank
        )
        texts = [
            drop_words(merge_metadata(metadata, rng, **self.merging), self.word_dropout, rng)
            for metadata in batch.metadata
        ]
        return drop_conditions(texts, batch.chroma, rng, **self.dropout)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(p for p in self.parameters() if p.requires_grad)
        if self.schedule is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedule(optimizer), "interval": "step"}]

    def init_from(self, path: str) -> str:
        """Take the weights of another MusicGen that fit; return what was taken and left."""
        other = load_musicgen(path)
        report = load_partially(self.lm, other.lm.state_dict())
        if self.text_encoder is not None and other.text_encoder is not None:
            report += "; text encoder: " + load_partially(
                self.text_encoder, other.text_encoder.state_dict()
            )
        return report

    def export(self, folder: Path) -> None:
        """Write the native MusicGen folder, its codec included."""
        assert self.codec_path is not None, "a language model is exported with its codec"
        model = MusicGen(
            self.name,
            load_codec(self.codec_path),
            self.lm,
            self.text_encoder,
            self.chroma,
            max_duration=self.max_duration,
        )
        save_musicgen(model, folder)
