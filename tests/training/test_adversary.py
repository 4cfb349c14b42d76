"""What discriminator and codec want of each other, and when."""

import pytest
import torch
from torch.optim import Adam

from musicgen_train.training.adversary import Adversary, feature_loss, hinge_loss
from musicgen_train.training.discriminator import MultiScaleSTFTDiscriminator, Verdict


def adversary(**timetable):
    torch.manual_seed(0)
    discriminator = MultiScaleSTFTDiscriminator(filters=2, n_ffts=[64, 128])
    return Adversary(discriminator, Adam, weights={"adv": 4.0, "feat": 4.0}, **timetable)


@pytest.fixture
def wavs():
    return torch.randn(2, 3, 1, 500, generator=torch.Generator().manual_seed(0))


def test_a_discriminator_that_is_surely_right_has_no_loss():
    sure = torch.full((2, 1, 4, 4), 1.5)
    assert hinge_loss([-sure, -sure], [sure, sure]) == 0
    assert hinge_loss([sure], [-sure]) == 5.0
    assert hinge_loss([0 * sure], [0 * sure]) == 2.0


def test_the_feature_loss_is_the_mean_over_layers_and_scales():
    def verdict(*levels):
        return Verdict(torch.zeros(1), [torch.full((n + 1, 3), x) for n, x in enumerate(levels)])

    found, wanted = [verdict(1.0, 2.0), verdict(3.0)], [verdict(0.0, 0.0), verdict(0.0)]
    assert feature_loss(found, wanted) == (1.5 + 3.0) / 2


def test_equal_audio_has_equal_features(wavs):
    assert adversary().codec_losses(wavs[0], wavs[0])["feat"] == 0


def test_the_codec_is_told_to_raise_the_logits_of_its_audio(wavs):
    adverse = adversary()
    logits = [verdict.logits.mean() for verdict in adverse.discriminator(wavs[0])]
    assert adverse.codec_losses(*wavs)["adv"] == pytest.approx(-(logits[0] + logits[1]).item() / 2)


def test_the_codec_hears_of_the_discriminator_but_does_not_train_it(wavs):
    adverse = adversary()
    fake = wavs[0].clone().requires_grad_()
    sum(adverse.codec_losses(fake, wavs[1]).values()).backward()
    assert fake.grad is not None and fake.grad.abs().sum() > 0
    assert all(p.grad is None and p.requires_grad for p in adverse.parameters())


def test_the_discriminator_trains_without_the_codec(wavs):
    adverse = adversary()
    fake = wavs[0].clone().requires_grad_()
    loss, right = adverse.own_loss(fake, wavs[1])
    loss.backward()
    assert fake.grad is None
    assert all(p.grad is not None for p in adverse.parameters())
    assert all(0 <= share <= 1 for share in right.values())


def test_a_trained_discriminator_tells_noise_from_a_tone():
    adverse = adversary()
    rng = torch.Generator().manual_seed(1)
    tone = torch.sin(torch.arange(500) * 0.3).expand(4, 1, -1)
    optimizer = Adam(adverse.parameters(), lr=1e-2)
    for _ in range(40):
        loss, right = adverse.own_loss(torch.randn(4, 1, 500, generator=rng) / 2, tone)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.5
    assert right["accuracy_fake"] > 0.8 and right["accuracy_real"] > 0.8


def test_the_timetable_starts_late_and_trains_every_period():
    adverse = adversary(start_step=3, period=2)
    assert [adverse.active(step) for step in range(7)] == [False] * 3 + [True] * 4
    assert [step for step in range(10) if adverse.learns(step)] == [3, 5, 7, 9]
