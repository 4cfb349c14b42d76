"""Lightning training of the codec: reconstruction and adversarial losses, balanced."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy
from torch import Tensor, nn
from torch.nn.utils import get_total_norm
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn

from musicgen_train.codec.encodec import Encodec, Reconstruction
from musicgen_train.codec.ranks import gather_rows, sum_over_ranks
from musicgen_train.data.batches import AudioBatch
from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import SILENCE_RMS
from musicgen_train.evaluation.metrics.codec_metrics import code_counts, perplexity, si_sdr, usage
from musicgen_train.formats import load_codec, save_codec
from musicgen_train.training.adversary import Adversary
from musicgen_train.training.balancer import Balanced, Balancer, check_weights
from musicgen_train.training.estimating.estimate import StepEstimate, estimate_step
from musicgen_train.training.losses import reconstruction_loss
from musicgen_train.training.partial.codec import take_codec
from musicgen_train.training.partial.report import Report


class CodecModule(L.LightningModule):
    """Train an `Encodec`: balanced losses on its output, the quantizer's commitment outside.

    The first `warmup_steps` steps bypass the quantizer. Then k-means on a pool of the latents of
    `kmeans_batches` batches starts the codebooks: one batch is too few vectors for a large
    codebook, and untrained latents collapse it. Validation and export use the exponential average
    of the weights, if `ema_decay` is given. Steps are the codec's: those of the discriminator are
    not counted. n ranks train as one does on their batches joined. With `decoder_only`, encoder and
    codebooks stay as they are: audio keeps its codes, and only sounds better.
    """

    def __init__(
        self,
        codec: Encodec,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        adversary: Adversary | None = None,
        *,
        weights: dict[str, float],
        commitment: float = 1.0,
        warmup_steps: int = 0,
        kmeans_batches: int = 1,
        balancer_decay: float = 0.999,
        ema_decay: float | None = 0.99,
        decoder_only: bool = False,
    ):
        super().__init__()
        check_weights("task.weights", weights)
        if warmup_steps < 0 or kmeans_batches < 1:
            raise UserError(
                f"task has warmup_steps {warmup_steps} and kmeans_batches {kmeans_batches}: "
                "use at least 0 and 1"
            )
        if decoder_only and warmup_steps:
            raise UserError(
                f"task.decoder_only keeps the codebooks, which task.warmup_steps={warmup_steps} "
                "would start anew: use task.warmup_steps=0"
            )
        self.automatic_optimization = False  # two optimizers that take turns
        self.codec = codec
        self.decoder_only = decoder_only
        if decoder_only:
            codec.requires_grad_(False)
            codec.decoder.requires_grad_(True)
        self.adversary = adversary
        self.optimizer = optimizer
        self.schedule = schedule
        self.commitment = commitment
        self.warmup_steps = warmup_steps
        self.kmeans_batches = kmeans_batches
        self.losses = {name: reconstruction_loss(name, codec.sample_rate) for name in weights}
        # Registered, so that their windows move to the device.
        self.spectral = nn.ModuleList(x for x in self.losses.values() if isinstance(x, nn.Module))
        shares = {**weights, **(adversary.weights if adversary else {})}
        self.balancer = Balancer(shares, ema_decay=balancer_decay)
        self.average = None
        if ema_decay is not None:
            # The codebooks are averages themselves: they are taken as they are.
            self.average = AveragedModel(codec, multi_avg_fn=get_ema_multi_avg_fn(ema_decay))
            self.average.requires_grad_(False)

    @property
    def trained(self) -> Encodec:
        """The codec that is validated and exported."""
        return self.codec if self.average is None else self.average.module  # type: ignore[return-value]

    def check(self, datamodule: MusicDataModule, trainer: L.Trainer) -> None:
        """Refuse a run that would end before its codebooks start, or fail in its midst."""
        _check_trainer(trainer)
        if 0 < trainer.max_steps <= self.warmup_steps:
            raise UserError(
                f"max_steps={trainer.max_steps} ends before the quantizer comes in at "
                f"task.warmup_steps={self.warmup_steps}: train longer, or lower the latter"
            )
        n_samples = int(datamodule.duration * self.codec.sample_rate)
        # The mel losses reflect half of their longest window.
        needed = 512
        if self.adversary is not None:
            needed = max(needed, *self.adversary.discriminator.n_ffts)
        if n_samples < needed:
            raise UserError(
                f"data.segment_duration={datamodule.duration} is {n_samples} samples, but the "
                f"losses look at {needed}: take at least {needed / self.codec.sample_rate:.3f}"
            )

    def estimate(self, datamodule: MusicDataModule) -> StepEstimate:
        """Memory and time of a step on batches of this shape; nothing is trained."""
        n_samples = int(datamodule.duration * self.codec.sample_rate)
        rng = torch.Generator().manual_seed(0)

        def loss(size: int) -> Tensor:
            wav = torch.randn(size, self.codec.channels, n_samples, generator=rng) / 8
            return self._trial_loss(wav.to(self.device))

        return estimate_step(self, loss, datamodule.batch_size, self.device)

    def _trial_loss(self, wav: Tensor) -> Tensor:
        """All the work of a step but the optimizers' and the codebooks'."""
        output = self.codec(wav, quantize=False)
        losses = self.reconstruction_losses(output.wav, wav)
        own = wav.new_zeros(())
        if self.adversary is not None:
            own, _ = self.adversary.own_loss(output.wav, wav)
            losses |= self.adversary.codec_losses(output.wav, wav)
        for loss in losses.values():
            torch.autograd.grad(loss, [output.wav], retain_graph=True)
        return own + torch.stack(list(losses.values())).sum()

    def training_step(self, batch: AudioBatch, batch_idx: int) -> None:
        step = self.global_step
        # In training its codebooks move, and dropout leaves some of them out.
        self.codec.quantizer.train(not self.decoder_only)
        output = self.codec(batch.wav, quantize=step >= self.warmup_steps)
        losses = self.reconstruction_losses(output.wav, batch.wav)
        if self.adversary is not None and self.adversary.active(step):
            if self.adversary.learns(step):
                self._train_discriminator(self.adversary, output.wav, batch.wav)
            losses |= self.adversary.codec_losses(output.wav, batch.wav)
        balanced = self.balancer(losses, output.wav)
        self._train_codec(balanced, output)
        self._log_losses(losses, balanced, output)

    def reconstruction_losses(self, estimate: Tensor, wav: Tensor) -> dict[str, Tensor]:
        """Every reconstruction term, of wavs [B, C, N]."""
        # Mel bands that are summed in half precision would hide small differences.
        with torch.autocast(wav.device.type, enabled=False):
            return {name: loss(estimate, wav) for name, loss in self.losses.items()}

    def _train_codec(self, balanced: Balanced, output: Reconstruction) -> None:
        loss = balanced.loss
        if not self.decoder_only:
            loss = loss + self.commitment * output.commitment
        optimizer = _as_list(self.optimizers())[0]
        optimizer.zero_grad()
        self.manual_backward(loss)
        optimizer.step()
        for scheduler in _as_list(self.lr_schedulers()):
            scheduler.step()
        if self.average is not None:
            self.average.update_parameters(self.codec)

    def _train_discriminator(self, adversary: Adversary, fake: Tensor, real: Tensor) -> None:
        loss, right = adversary.own_loss(fake, real)
        # Lightning would count a step of its wrapper as a step of the run.
        optimizer = _as_list(self.optimizers())[1].optimizer
        optimizer.zero_grad()
        self.manual_backward(loss)
        norm = get_total_norm(p.grad for p in adversary.parameters() if p.grad is not None)
        if not torch.isfinite(norm):
            raise UserError(
                f"step {self.global_step}: the discriminator's gradient is {norm.item()}: lower "
                "task.adversary.optimizer.lr, and go on with resume=auto from the last checkpoint"
            )
        optimizer.step()
        self.log("train/discriminator_grad_norm", norm)
        self.log("train/discriminator", loss.detach())
        self.log_dict({f"train/discriminator_{name}": value for name, value in right.items()})

    def _log_losses(
        self, losses: dict[str, Tensor], balanced: Balanced, output: Reconstruction
    ) -> None:
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        self.log("train/commitment", output.commitment.detach())
        self.log_dict({f"train/grad_{name}": norm for name, norm in balanced.norms.items()})
        self.log_dict({f"train/share_{name}": share for name, share in balanced.shares.items()})

    def on_train_batch_start(self, batch: AudioBatch, batch_idx: int) -> None:
        # After a warm-up also codebooks from elsewhere are no longer those of these latents.
        if self.global_step == self.warmup_steps and (self.warmup_steps or not self._started()):
            self._start_codebooks()

    def _started(self) -> bool:
        return bool(self.codec.quantizer.codebooks[0].inited)

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        loader = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        pool = [
            gather_rows(self.codec.latents(wav.to(self.device))[0].transpose(1, 2).flatten(0, 1))
            for wav, *_ in islice(loader, self.kmeans_batches)
        ]
        self.codec.quantizer.initialise(torch.cat(pool))

    def on_validation_epoch_start(self) -> None:
        self.counts = torch.zeros(
            self.codec.n_q, self.codec.card, dtype=torch.long, device=self.device
        )

    def validation_step(self, batch: AudioBatch, batch_idx: int) -> Tensor:
        """Log how close the round trip comes; return it, [B, C, N], for callbacks."""
        # Quantized also during warm-up would be noise: the same path as training is validated.
        warm = self.global_step > self.warmup_steps or self.warmup_steps == 0
        output = self.trained(batch.wav, quantize=warm and self._started())
        for name, value in self.reconstruction_losses(output.wav, batch.wav).items():
            self.log(f"valid/{name}", value, batch_size=len(batch.wav), sync_dist=True)
        # Of silence, which crops may be, there is no ratio.
        audible = batch.wav.square().mean((1, 2)).sqrt() > SILENCE_RMS
        ratios = si_sdr(output.wav[audible], batch.wav[audible]).float()
        mean = ratios.mean() if audible.any() else output.wav.new_zeros(())
        self.log("valid/si_sdr", mean, batch_size=int(audible.sum()), sync_dist=True)
        if output.codes is not None:
            self.counts += code_counts(output.codes, self.codec.card)
        return output.wav

    def on_validation_epoch_end(self) -> None:
        counts = sum_over_ranks(self.counts)
        if not counts.any():
            return
        for k, (used, effective) in enumerate(zip(usage(counts), perplexity(counts), strict=True)):
            self.log(f"valid/usage_q{k}", used.float(), sync_dist=True)
            self.log(f"valid/perplexity_q{k}", effective.float(), sync_dist=True)

    def configure_optimizers(self) -> Any:
        trained = self.codec.decoder if self.decoder_only else self.codec
        optimizers = [self.optimizer(trained.parameters())]
        if self.adversary is not None:
            optimizers.append(self.adversary.optimizer(self.adversary.discriminator.parameters()))
        if self.schedule is None:
            return optimizers
        return optimizers, [self.schedule(optimizer) for optimizer in optimizers]

    def init_from(self, path: str) -> Report:
        """Start from another codec, also of another shape; tell what was taken and left."""
        report = take_codec(self.codec, load_codec(path))
        if self.average is not None:
            self.average.module.load_state_dict(self.codec.state_dict())
        return report

    def export(self, folder: Path) -> None:
        """Write the native codec folder, from rank 0."""
        if self.global_rank == 0:
            save_codec(self.trained, folder)


def _check_trainer(trainer: L.Trainer) -> None:
    """Refuse what two optimizers in turn cannot do."""
    if trainer.precision not in ("32-true", "bf16-mixed"):
        raise UserError(
            f"trainer.precision={trainer.precision} does not train a codec: use 32-true or "
            "bf16-mixed"
        )
    if isinstance(trainer.strategy, ModelParallelStrategy):
        raise UserError("a codec is not sharded, as it fits anywhere: use trainer=ddp")
    strategy = trainer.strategy
    several = isinstance(strategy, DDPStrategy) and trainer.world_size > 1
    if several and not strategy._ddp_kwargs.get("find_unused_parameters"):  # type: ignore[union-attr]
        raise UserError(
            "codec and discriminator take turns, which several processes have to be told: use "
            "trainer=ddp, and takes_turns=true where the experiment does not say so"
        )
    if trainer.gradient_clip_val:
        raise UserError("the balancer bounds a codec's gradients: leave out gradient_clip_val")
    if trainer.accumulate_grad_batches != 1:
        raise UserError(
            "a codec does not accumulate gradients: raise data.batch_size, or use more processes, "
            "which train as one, in place of trainer.accumulate_grad_batches"
        )


def _as_list(one_or_more: Any) -> list[Any]:
    """Lightning gives one optimizer or scheduler bare, several in a list, and none as None."""
    if one_or_more is None:
        return []
    return one_or_more if isinstance(one_or_more, list) else [one_or_more]
