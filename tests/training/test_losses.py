"""Codec losses and the balancer reproduce the reference implementation's numbers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from musicgen_train.errors import UserError
from musicgen_train.training.balancer import Balancer
from musicgen_train.training.losses import MultiScaleMel, reconstruction_loss

GOLDEN = load_file(str(Path(__file__).parents[1] / "golden" / "losses.safetensors"))


@pytest.fixture(scope="module")
def msspec():
    return MultiScaleMel(32000)


def test_multi_scale_mel_of_equal_signals_is_zero(msspec):
    assert msspec(GOLDEN["x"], GOLDEN["x"]) == 0


def test_balanced_gradients_equal_the_reference(msspec):
    balancer = Balancer({"l1": 0.1, "l2": 2.0, "msspec": 4.0})
    for i in range(3):
        x = GOLDEN[f"balancer.x.{i}"].requires_grad_()
        losses = {
            "l1": F.l1_loss(x, GOLDEN["y"]),
            "l2": F.mse_loss(x, GOLDEN["y"]),
            "msspec": msspec(x, GOLDEN["y"]),
        }
        (grad,) = torch.autograd.grad(balancer(losses, x).loss, [x])
        torch.testing.assert_close(grad, GOLDEN[f"balancer.grad.{i}"], rtol=1e-4, atol=1e-6)


def test_balanced_shares_do_not_depend_on_the_scale_of_a_loss():
    target = torch.zeros(2, 1, 8)
    grads = []
    for scale in (1.0, 1000.0):
        x = torch.linspace(-1, 1, 16).view(2, 1, 8).requires_grad_()
        losses = {"a": F.l1_loss(x, target) * scale, "b": F.mse_loss(x, target)}
        balanced = Balancer({"a": 1.0, "b": 1.0})(losses, x)
        grads.append(torch.autograd.grad(balanced.loss, [x])[0])
    torch.testing.assert_close(*grads)


def test_an_absent_loss_leaves_its_share_to_the_others():
    x = torch.linspace(-1, 1, 8).view(2, 1, 4).requires_grad_()
    balancer = Balancer({"a": 1.0, "b": 3.0})
    alone = balancer({"a": x.abs().sum()}, x)
    assert alone.shares == {"a": 1.0}
    both = balancer({"a": x.abs().sum(), "b": x.square().sum()}, x)
    # a's norm never changed: its share is its weight's. b's average began with this step.
    assert both.shares["a"].item() == pytest.approx(0.25)
    assert both.shares["b"].item() == pytest.approx(0.75)
    assert set(both.norms) == {"a", "b"}


def test_a_loss_without_a_weight_is_named():
    x = torch.zeros(1, 1, 4, requires_grad=True)
    with pytest.raises(AssertionError, match="'b'"):
        Balancer({"a": 1.0})({"a": x.sum(), "b": x.sum()}, x)


@pytest.mark.parametrize("name", ["l1", "mel", "msspec", "sisnr"])
def test_every_reconstruction_loss_equals_the_reference(name):
    value = reconstruction_loss(name, 32000)(GOLDEN["x"], GOLDEN["y"])
    torch.testing.assert_close(value[None], GOLDEN[f"value.{name}"], rtol=1e-4, atol=1e-5)


def test_an_unknown_loss_is_refused_with_the_known_ones():
    with pytest.raises(UserError, match=r"no loss is called 'l3': .* l1, l2, mel, msspec, sisnr"):
        reconstruction_loss("l3", 32000)


def test_si_snr_does_not_depend_on_the_scale_of_the_estimate():
    torch.manual_seed(0)
    x, y = torch.randn(2, 2, 1, 4000)
    loss = reconstruction_loss("sisnr", 1000)
    torch.testing.assert_close(loss(x, y), loss(7 * x, y), rtol=1e-2, atol=1e-2)
