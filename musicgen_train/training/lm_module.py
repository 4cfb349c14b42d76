"""Lightning training of the language model on cached codes."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

import lightning as L
import torch
from torch import Tensor, nn
from torch.nn.utils import clip_grad_norm_
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from musicgen_train.adapters.injection import merged
from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.ranks import n_ranks, sum_over_ranks
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor, one_hot
from musicgen_train.conditioning.dropout import drop_conditions, drop_words
from musicgen_train.conditioning.merging import merge_metadata
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.data.batches import CodesBatch
from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_musicgen, save_musicgen
from musicgen_train.lm.attention import kernel
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from musicgen_train.training.adapter_training import adapter_training, sharing_copy
from musicgen_train.training.estimating.estimate import StepEstimate, estimate_step
from musicgen_train.training.optimizers import check_scaling, check_shardable
from musicgen_train.training.partial.loading import take_musicgen
from musicgen_train.training.partial.report import Report
from musicgen_train.training.sharding import is_sharded, shard, whole_state
from musicgen_train.training.transforms import (
    check_float8,
    compile_layers,
    recompute_layers,
    use_attention,
    use_float8,
)

PRECISIONS = ("32-true", "bf16-mixed", "16-mixed")


class MusicGenModule(L.LightningModule):
    """Train a `LanguageModel`, and a text encoder that has parameters, on batches of codes.

    n ranks train as one does on their batches joined: losses are means over the codes of all
    ranks, and what is drawn for a sample follows from its place in the data. So a resumed run
    repeats every draw without any saved state. Validation, samples and export use the exponential
    average of the weights, if `ema_decay` is given; it is taken every `ema_every` steps. With
    `adapter` settings only an adapter of the model that it starts from is trained.
    """

    def __init__(
        self,
        lm: LanguageModel,
        optimizer: Callable[[Iterable[tuple[str, Tensor]]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        text_encoder: WordTextEncoder | T5TextEncoder | None = None,
        chroma: ChromaExtractor | None = None,
        *,
        merging: dict[str, float],
        dropout: dict[str, float],
        name: str = "musicgen",
        codec_path: str | None = None,
        max_duration: float = 30.0,
        ema_decay: float | None = None,
        ema_every: int = 10,
        attention: str = "auto",
        compile: bool = False,
        recompute: bool = False,
        float8: bool = False,
        loss_chunk: int = 1024,
        adapter: dict[str, Any] | None = None,
    ):
        super().__init__()
        if ema_every < 1 or loss_chunk < 1:
            raise UserError(
                f"task has ema_every {ema_every} and loss_chunk {loss_chunk}: use at least 1"
            )
        self.lm = lm
        self.text_encoder = text_encoder
        self.chroma = chroma
        self.optimizer = optimizer
        self.schedule = schedule
        self.merging = merging
        self.dropout = dict(dropout)
        self.word_dropout = self.dropout.pop("word_dropout")
        self.name = name
        self.codec_path = codec_path
        self.max_duration = max_duration
        self.ema_every = ema_every
        self.attention = attention
        self.compile_layers = compile
        self.float8 = float8
        self.loss_chunk = loss_chunk
        self.adapter = adapter_training(adapter)
        self.ema_decay = ema_decay
        # Of an adapter there is nothing to average until it is there.
        self.average = self._average() if self.adapter is None else None
        if recompute:
            recompute_layers(lm)
        self._configured = False
        self._window: list[Tensor] = []  # losses of the batches that make one step

    def _average(self) -> AveragedModel | None:
        """An average that begins where the weights are; those that stay as they are are shared."""
        if self.ema_decay is None:
            return None
        average = AveragedModel(nn.Module(), multi_avg_fn=get_ema_multi_avg_fn(self.ema_decay))
        average.module = sharing_copy(nn.ModuleDict(self._trained_parts()))
        return average.requires_grad_(False)

    def _trained_parts(self) -> dict[str, nn.Module]:
        """The modules that are trained; a frozen text encoder is not."""
        parts: dict[str, nn.Module] = {"lm": self.lm}
        if self.text_encoder is not None and any(
            parameter.requires_grad for parameter in self.text_encoder.parameters()
        ):
            parts["text_encoder"] = self.text_encoder
        return parts

    @property
    def trained(self) -> dict[str, nn.Module]:
        """The parts that are validated, heard and exported: their averages, once there are any."""
        if self.average is not None and self.average.n_averaged > 0:
            return dict(self.average.module.items())  # type: ignore[operator]
        return self._trained_parts()

    def check(self, datamodule: MusicDataModule, trainer: L.Trainer) -> None:
        """Refuse what cannot be trained, or not on this dataset, before hours are spent."""
        if trainer.precision not in PRECISIONS:
            raise UserError(
                f"trainer.precision={trainer.precision} rounds small updates of the weights away: "
                f"use one of {', '.join(PRECISIONS)}"
            )
        if (trainer.gradient_clip_val or 0) < 0:
            raise UserError(f"trainer.gradient_clip_val={trainer.gradient_clip_val}: use 0 or more")
        device = trainer.strategy.root_device
        kernel(self.attention, device)
        if self.float8:
            check_float8(device)
        if self.adapter is not None:
            self.adapter.check(trainer, float8=self.float8)
        self._check_chroma(datamodule)

    def _check_chroma(self, datamodule: MusicDataModule) -> None:
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

    def configure_model(self) -> None:
        """Prepare the model for its device, and shard it if the strategy does; once."""
        if self._configured:
            return
        self._configured = True
        use_attention(self.lm, self.attention, self.trainer.strategy.root_device)
        if self.float8:
            use_float8(self.lm)
        if self.compile_layers:
            compile_layers(self.lm)
        if self.device_mesh is not None:
            averages = [] if self.average is None else self.average.module.children()
            for part in (*self._trained_parts().values(), *averages):
                shard(part, self.device_mesh["data_parallel"])

    def estimate(self, datamodule: MusicDataModule) -> StepEstimate:
        """Memory and time of a step on batches of this shape; nothing is trained."""
        n_frames = round(datamodule.duration * datamodule.index.info["frame_rate"])
        rng = torch.Generator().manual_seed(0)

        def loss(size: int) -> Tensor:
            codes = torch.randint(self.lm.card, (size, self.lm.n_q, n_frames), generator=rng)
            n_chroma = self.lm.config["chroma_length"] if self.chroma is not None else 0
            chroma = torch.zeros(size, n_chroma, 12, device=self.device) if n_chroma else None
            lengths = torch.full((size,), n_frames, device=self.device)
            texts, metadata, seeds = ["music"] * size, [{}] * size, [0] * size
            batch = CodesBatch(
                codes.to(self.device), lengths, texts, chroma, texts, metadata, seeds
            )
            return self.losses(self._trained_parts(), batch, texts, chroma)[0]

        return estimate_step(self, loss, datamodule.batch_size, self.device)

    def training_step(self, batch: CodesBatch, batch_idx: int) -> Tensor:
        texts, chroma = self.draw_conditions(batch)
        loss, ce = self.losses(self._trained_parts(), batch, texts, chroma)
        self._log_losses(ce)
        return loss

    def validation_step(self, batch: CodesBatch, batch_idx: int) -> None:
        _, ce = self.losses(self.trained, batch, batch.descriptions, batch.chroma)
        size = {"batch_size": len(batch.keys), "sync_dist": True}
        self.log("valid/ce", ce.mean(), **size)
        self.log_dict({f"valid/ce_q{k}": value for k, value in enumerate(ce)}, **size)

    def losses(
        self, parts: Any, batch: CodesBatch, texts: list[str], chroma: Tensor | None
    ) -> tuple[Tensor, Tensor]:
        """This rank's loss, whose mean over ranks is that of the joined batch; and, over all ranks,
        the mean cross entropy of each codebook: scalar, [K] nats.

        Accumulated batches count alike, however long their music is.
        """
        encoder = parts.get("text_encoder", self.text_encoder)
        text = encoder(texts) if encoder is not None else None
        melody = one_hot(chroma) if self.chroma is not None and chroma is not None else None
        lm = parts["lm"]
        counts = lm.n_predicted(batch.lengths, batch.codes.shape[-1])
        shares = 1 / sum_over_ranks(counts).clamp_min(1)
        loss, sums = lm.loss(
            batch.codes, batch.lengths, shares * (n_ranks() / lm.n_q), text, melody,
            chunk=self.loss_chunk,
        )  # fmt: skip
        return loss, sum_over_ranks(sums.detach()) * shares

    def _log_losses(self, ce: Tensor) -> None:
        """Log the mean of each codebook's cross entropy over the batches of an optimizer step."""
        self._window.append(ce)
        if not self.trainer.fit_loop._should_accumulate():
            mean = torch.stack(self._window).mean(0)
            self._window.clear()
            self.log("train/ce", mean.mean(), prog_bar=True)
            self.log_dict({f"train/ce_q{k}": value for k, value in enumerate(mean)})

    def draw_conditions(self, batch: CodesBatch) -> tuple[list[str], Tensor | None]:
        """The conditions this step trains on: metadata merged in, words and conditions dropped."""
        generators = [torch.Generator().manual_seed(seed) for seed in batch.seeds]
        texts = [
            drop_words(merge_metadata(metadata, rng, **self.merging), self.word_dropout, rng)
            for metadata, rng in zip(batch.metadata, generators, strict=True)
        ]
        return drop_conditions(texts, batch.chroma, generators, **self.dropout)

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer([(n, p) for n, p in self.named_parameters() if p.requires_grad])
        check_scaling(optimizer, str(self.trainer.precision))
        if is_sharded(self.lm):
            check_shardable(optimizer)
        if self.schedule is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedule(optimizer), "interval": "step"}]

    def configure_gradient_clipping(
        self,
        optimizer: Optimizer,
        gradient_clip_val: float | None = None,
        gradient_clip_algorithm: str | None = None,
    ) -> None:
        # Lightning's refuses fused optimizers also in bfloat16, where no scaler needs them plain.
        if gradient_clip_val and gradient_clip_algorithm in (None, "norm"):
            clip_grad_norm_(self.parameters(), gradient_clip_val)
        elif gradient_clip_val:
            super().configure_gradient_clipping(
                optimizer, gradient_clip_val, gradient_clip_algorithm
            )

    def optimizer_step(self, *arguments: Any, **options: Any) -> None:
        # Here, and not at the end of the batch, so that a checkpoint of a step has its average.
        super().optimizer_step(*arguments, **options)
        if self.average is not None and (self.global_step + 1) % self.ema_every == 0:
            self.average.update_parameters(nn.ModuleDict(self._trained_parts()))

    def init_from(self, path: str) -> Report:
        """Start from another MusicGen, also of another shape; tell what was taken and left."""
        source = load_musicgen(path)
        report = take_musicgen(self.lm, self.text_encoder, self.chroma, source, self._codec)
        if self.adapter is not None:
            self.adapter.begin(self.lm, self.text_encoder, source, path, report)
        self.average = self._average()
        return report

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.adapter is not None:
            self.adapter.save(checkpoint, self)

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        if self.adapter is not None:
            self.adapter.load(checkpoint, self)

    @cached_property
    def _codec(self) -> Encodec | StereoCodec:
        assert self.codec_path is not None, "a language model is heard and exported with its codec"
        return load_codec(self.codec_path)

    def musicgen(self) -> MusicGen | None:
        """What is trained, to generate with; if it is sharded, a copy, and on rank 0 alone.

        All ranks have to ask, as a sharded model is put together.
        """
        parts = self.trained
        lm: Any = parts["lm"]
        text_encoder: Any = parts.get("text_encoder", self.text_encoder)
        if is_sharded(lm):
            states = [whole_state(part) for part in parts.values()]
            if self.global_rank > 0:
                return None
            lm, text_encoder = self._unsharded(states)
        return MusicGen(
            self.name, self._codec, lm, text_encoder, self.chroma, max_duration=self.max_duration
        ).to(self.device)

    def _unsharded(self, states: Sequence[Mapping[str, Tensor]]) -> tuple[Any, Any]:
        """A language model and a text encoder of the trained parts' weights, in their order."""
        lm = LanguageModel(**self.lm.config)
        lm.load_state_dict(states[0])
        text_encoder = self.text_encoder
        if len(states) > 1:
            assert isinstance(text_encoder, WordTextEncoder), type(text_encoder)
            text_encoder = WordTextEncoder(**text_encoder.config)
            text_encoder.load_state_dict(states[1])
        return lm, text_encoder

    def export(self, folder: Path) -> None:
        """Write the native MusicGen folder, its codec included; all ranks have to ask.

        An adapter is in the model's weights then, and also lies alone beside it, in `adapter`.
        """
        model = self.musicgen()
        if model is None or self.global_rank > 0:
            return
        if self.adapter is not None:
            self.adapter.export(model.lm, folder.with_name("adapter"), self.name, self._facts())
            model.lm = merged(model.lm)
        save_musicgen(model, folder)

    def _facts(self) -> dict[str, Any]:
        """What an adapter's file says of its training."""
        infos = [index.info for index in self.trainer.datamodule.indexes]  # type: ignore[attr-defined]
        songs = sum((info.get("tracks") or {}).get("kept", 0) for info in infos)
        facts = {"run": self.name, "steps": self.global_step, "songs": songs}
        return {name: value for name, value in facts.items() if value}
