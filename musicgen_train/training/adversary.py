"""The adversarial part of codec training: what discriminator and codec want of each other."""

from collections.abc import Callable, Iterable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim import Optimizer

from musicgen_train.errors import UserError
from musicgen_train.training.balancer import check_weights
from musicgen_train.training.discriminator import MultiScaleSTFTDiscriminator, Verdict


class Adversary(nn.Module):
    """A discriminator with its optimizer, its weights in the codec's loss, and its timetable.

    From step `start_step` on it is trained every `period` steps, and the codec hears of it: "adv",
    that its audio pass for real, and "feat", that the discriminator's features be the same.
    """

    def __init__(
        self,
        discriminator: MultiScaleSTFTDiscriminator,
        optimizer: Callable[[Iterable[Tensor]], Optimizer],
        *,
        weights: dict[str, float],
        start_step: int = 0,
        period: int = 1,
    ):
        super().__init__()
        check_weights("task.adversary.weights", weights)
        if set(weights) != {"adv", "feat"}:
            raise UserError(f"task.adversary.weights is {weights}: give adv and feat, and no other")
        if start_step < 0 or period < 1:
            raise UserError(
                f"task.adversary has start_step {start_step} and period {period}: "
                "use at least 0 and 1"
            )
        self.discriminator = discriminator
        self.optimizer = optimizer
        self.weights = weights
        self.start_step = start_step
        self.period = period

    def active(self, step: int) -> bool:
        """Does the codec hear of the discriminator at this step?"""
        return step >= self.start_step

    def learns(self, step: int) -> bool:
        """Is the discriminator trained at this step?"""
        return self.active(step) and (step - self.start_step) % self.period == 0

    def own_loss(self, fake: Tensor, real: Tensor) -> tuple[Tensor, dict[str, Tensor]]:
        """The discriminator's hinge loss on wavs [B, C, N], and how often it is right on each."""
        # One pass over both: a discriminator has no statistics over the batch.
        verdicts = self.discriminator(torch.cat([fake.detach(), real]))
        halves = [verdict.logits.chunk(2) for verdict in verdicts]
        loss = hinge_loss([f for f, _ in halves], [r for _, r in halves])
        right = {
            "accuracy_fake": mean([(f < 0).float().mean() for f, _ in halves]),
            "accuracy_real": mean([(r > 0).float().mean() for _, r in halves]),
        }
        return loss, right

    def codec_losses(self, fake: Tensor, real: Tensor) -> dict[str, Tensor]:
        """What the codec is to lower: {"adv", "feat"}; the discriminator gets no gradient."""
        with torch.no_grad():
            wanted = self.discriminator(real)
        self.discriminator.requires_grad_(False)
        found = self.discriminator(fake)
        self.discriminator.requires_grad_(True)
        return {
            "adv": -mean([verdict.logits.mean() for verdict in found]),
            "feat": feature_loss(found, wanted),
        }


def hinge_loss(fake_logits: Sequence[Tensor], real_logits: Sequence[Tensor]) -> Tensor:
    """Hinge loss of a discriminator, mean over its scales (Lim and Ye 2017)."""
    return mean(
        [
            F.relu(1 + fake).mean() + F.relu(1 - real).mean()
            for fake, real in zip(fake_logits, real_logits, strict=True)
        ]
    )


def feature_loss(found: Sequence[Verdict], wanted: Sequence[Verdict]) -> Tensor:
    """L1 between features, mean over layers and scales (Kumar et al. 2019)."""
    return mean(
        [
            mean([F.l1_loss(f, w) for f, w in zip(ours.features, theirs.features, strict=True)])
            for ours, theirs in zip(found, wanted, strict=True)
        ]
    )


def mean(terms: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(terms)).mean()
