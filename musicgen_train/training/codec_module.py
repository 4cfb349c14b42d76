"""Lightning training of the codec on reconstruction losses."""

from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler

from musicgen_train.codec.encodec import Encodec
from musicgen_train.data.batches import AudioBatch
from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.errors import UserError
from musicgen_train.formats.native import load_codec, save_codec
from musicgen_train.training.balancer import Balancer
from musicgen_train.training.checkpoints import load_partially
from musicgen_train.training.losses import MultiScaleMel


class CodecModule(L.LightningModule):
    """Train an `Encodec`: balanced reconstruction losses on the waveform, commitment outside.

    The first `warmup_steps` steps bypass the quantizer. Then k-means on a pool of the latents of
    `kmeans_batches` batches starts the codebooks: one batch is too few vectors for a large
    codebook, and untrained latents collapse it.
    """

    def __init__(
        self,
        codec: Encodec,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        schedule: Callable[[Optimizer], LRScheduler] | None = None,
        *,
        weights: dict[str, float],
        commitment: float = 1.0,
        warmup_steps: int = 0,
        kmeans_batches: int = 1,
        balancer_decay: float = 0.999,
    ):
        super().__init__()
        self.codec = codec
        self.optimizer = optimizer
        self.schedule = schedule
        self.commitment = commitment
        self.warmup_steps = warmup_steps
        self.kmeans_batches = kmeans_batches
        self.msspec = MultiScaleMel(codec.sample_rate)
        self.balancer = Balancer(weights, ema_decay=balancer_decay)

    def check(self, datamodule: MusicDataModule, max_steps: int) -> None:
        """Refuse a run that would end before its codebooks are started."""
        if 0 < max_steps <= self.warmup_steps:
            raise UserError(
                f"max_steps={max_steps} ends before the quantizer comes in at "
                f"task.warmup_steps={self.warmup_steps}: train longer, or lower the latter"
            )

    def losses(self, estimate: Tensor, wav: Tensor) -> dict[str, Tensor]:
        """Every weighted reconstruction term; adversarial terms join them here."""
        return {"l1": F.l1_loss(estimate, wav), "msspec": self.msspec(estimate, wav)}

    def training_step(self, batch: AudioBatch, batch_idx: int) -> Tensor:
        output = self.codec(batch.wav, quantize=self.global_step >= self.warmup_steps)
        losses = self.losses(output.wav, batch.wav)
        self.log_dict({f"train/{name}": value.detach() for name, value in losses.items()})
        self.log("train/commitment", output.commitment.detach())
        return self.balancer(losses, output.wav) + self.commitment * output.commitment

    def on_train_batch_start(self, batch: AudioBatch, batch_idx: int) -> None:
        if self.global_step == self.warmup_steps and not self._started():
            self._start_codebooks()

    def _started(self) -> bool:
        return bool(self.codec.quantizer.codebooks[0].inited)

    @torch.no_grad()
    def _start_codebooks(self) -> None:
        loader = self.trainer.datamodule.train_dataloader()  # type: ignore[attr-defined]
        pool = [
            self.codec.encoder(batch.wav.to(self.device)).transpose(1, 2).flatten(0, 1)
            for batch in islice(loader, self.kmeans_batches)
        ]
        self.codec.quantizer.initialise(torch.cat(pool))

    def validation_step(self, batch: AudioBatch, batch_idx: int) -> None:
        # Quantized also during warm-up would be noise: the same path as training is validated.
        output = self.codec(batch.wav, quantize=self._started())
        for name, value in self.losses(output.wav, batch.wav).items():
            self.log(f"valid/{name}", value, batch_size=len(batch.wav), sync_dist=True)
        self.log(
            "valid/si_sdr",
            si_sdr(output.wav, batch.wav).mean(),
            prog_bar=True,
            batch_size=len(batch.wav),
            sync_dist=True,
        )
        if output.codes is not None:
            self._count_codes(output.codes)

    def on_validation_epoch_start(self) -> None:
        self.code_counts = torch.zeros(self.codec.n_q, self.codec.card, device=self.device)

    def _count_codes(self, codes: Tensor) -> None:
        for k in range(self.codec.n_q):
            self.code_counts[k] += torch.bincount(codes[:, k].flatten(), minlength=self.codec.card)

    def on_validation_epoch_end(self) -> None:
        if not self._started():
            return
        for k, counts in enumerate(self.code_counts):
            p = counts / counts.sum()
            self.log(f"valid/perplexity_q{k}", torch.special.entr(p).sum().exp())

    def configure_optimizers(self) -> Any:
        optimizer = self.optimizer(self.codec.parameters())
        if self.schedule is None:
            return optimizer
        return [optimizer], [{"scheduler": self.schedule(optimizer), "interval": "step"}]

    def init_from(self, path: str) -> str:
        """Take the weights of another codec that fit; return what was taken and left."""
        return load_partially(self.codec, load_codec(path).state_dict())

    def export(self, folder: Path) -> None:
        """Write the native codec folder."""
        save_codec(self.codec, folder)


def si_sdr(estimate: Tensor, reference: Tensor) -> Tensor:
    """Scale-invariant signal-to-distortion ratio in dB, per item: [B, C, N] twice -> [B]."""
    estimate = (estimate - estimate.mean(-1, keepdim=True)).flatten(1)
    reference = (reference - reference.mean(-1, keepdim=True)).flatten(1)
    energy = reference.square().sum(1, keepdim=True).clamp_min(1e-8)
    target = (estimate * reference).sum(1, keepdim=True) / energy * reference
    noise = (estimate - target).square().sum(1).clamp_min(1e-8)
    return 10 * torch.log10(target.square().sum(1).clamp_min(1e-8) / noise)
