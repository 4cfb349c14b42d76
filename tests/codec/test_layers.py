"""Laws of SEANet's layers."""

import pytest
import torch
import torch.nn.functional as F

from musicgen_train.codec.layers import ELU, Conv1d


def test_elu_is_torchs_to_the_rounding_of_one():
    x = torch.cat([torch.linspace(-20, 20, 4001), torch.tensor([-1e-8, 0.0, 1e-8, -200, 1e30])])
    torch.testing.assert_close(ELU()(x), F.elu(x), rtol=0, atol=1.2e-7)


def test_the_gradient_of_elu_is_torchs():
    x = torch.linspace(-5, 5, 1001, requires_grad=True)
    weight = torch.randn(1001)
    ours, theirs = (torch.autograd.grad((f(x) * weight).sum(), x)[0] for f in (ELU(), F.elu))
    torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-6)


def test_elu_passes_nan_on_instead_of_hiding_it():
    assert ELU()(torch.tensor([float("nan")])).isnan().all()


@pytest.mark.parametrize("causal", [False, True])
@pytest.mark.parametrize(
    ("kernel", "stride", "dilation"), [(7, 1, 1), (3, 1, 4), (8, 4, 1), (10, 5, 1)]
)
@pytest.mark.parametrize("n_samples", [1, 2, 5, 19, 20, 40])
def test_padding_inside_the_convolution_equals_padding_before_it(
    causal, kernel, stride, dilation, n_samples
):
    layer = Conv1d(2, 3, kernel, stride=stride, dilation=dilation, causal=causal)
    x = torch.randn(2, 2, n_samples)
    right = layer.right + -n_samples % stride
    torch.testing.assert_close(layer(x), layer.conv(F.pad(x, (layer.left, right))))
