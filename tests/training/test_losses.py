"""Codec losses and the balancer reproduce the reference implementation's numbers."""

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import load_file

from musicgen_train.training.balancer import Balancer
from musicgen_train.training.losses import MultiScaleMel

GOLDEN = load_file(str(Path(__file__).parents[1] / "golden" / "losses.safetensors"))


@pytest.fixture(scope="module")
def msspec():
    return MultiScaleMel(32000)


def test_multi_scale_mel_equals_the_reference(msspec):
    value = msspec(GOLDEN["x"], GOLDEN["y"])
    torch.testing.assert_close(value[None], GOLDEN["value.msspec"], rtol=1e-4, atol=1e-5)


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
        (grad,) = torch.autograd.grad(balancer(losses, x), [x])
        torch.testing.assert_close(grad, GOLDEN[f"balancer.grad.{i}"], rtol=1e-4, atol=1e-6)


def test_balanced_shares_do_not_depend_on_the_scale_of_a_loss():
    target = torch.zeros(2, 1, 8)
    grads = []
    for scale in (1.0, 1000.0):
        x = torch.linspace(-1, 1, 16).view(2, 1, 8).requires_grad_()
        losses = {"a": F.l1_loss(x, target) * scale, "b": F.mse_loss(x, target)}
        surrogate = Balancer({"a": 1.0, "b": 1.0})(losses, x)
        grads.append(torch.autograd.grad(surrogate, [x])[0])
    torch.testing.assert_close(*grads)


def test_a_missing_loss_is_named():
    x = torch.zeros(1, 1, 4, requires_grad=True)
    with pytest.raises(ValueError, match="'b'"):
        Balancer({"a": 1.0, "b": 1.0})({"a": x.sum()}, x)
