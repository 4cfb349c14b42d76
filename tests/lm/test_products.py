"""Products that are trained are oneDNN's on a CPU: the same numbers, and only where they are."""

import copy
import time
from concurrent.futures import ThreadPoolExecutor

import pytest
import torch
from torch import nn
from torch.utils.flop_counter import FlopCounterMode

from musicgen_train.lm import products
from musicgen_train.lm.loss import chunked_cross_entropy
from musicgen_train.lm.products import Linear

matmul = torch.backends.mkldnn.matmul


@pytest.fixture
def asked_here(monkeypatch):
    """How often oneDNN was asked for products, which this CPU may not do."""
    products._exact()  # looks once, and asks for that
    counts, plain = [], products._asked

    def counting():
        counts.append(1)
        return plain()

    monkeypatch.setattr(products, "_asked", counting)
    return counts


@pytest.fixture
def asked(asked_here, monkeypatch):
    """The same as on a CPU whose oneDNN keeps float32; what it computes here may be rounded."""
    monkeypatch.setattr(products, "_unrounded", lambda: True)
    return asked_here


def twins(bias):
    torch.manual_seed(0)
    ours = Linear(48, 80, bias=bias)
    plain = nn.Linear(48, 80, bias=bias)
    plain.load_state_dict(ours.state_dict())
    return ours, plain


@pytest.mark.parametrize("bias", [False, True])
@pytest.mark.parametrize("shape", [(7, 48), (3, 50, 48), (2, 3, 5, 48)])
def test_output_and_gradients_are_those_of_torchs_own(asked_here, bias, shape):
    ours, plain = twins(bias)
    found = []
    for layer in (ours, plain):
        x = torch.randn(shape, generator=torch.Generator().manual_seed(1)).requires_grad_()
        y = layer(x)
        y.square().sum().backward()
        found.append([y, x.grad, *(p.grad for p in layer.parameters())])
    assert len(asked_here) == (2 if products._exact() else 0)  # forward and backward
    torch.testing.assert_close(*found, rtol=1e-5, atol=1e-4)


def test_what_needs_no_gradient_gets_none(asked):
    layer, _ = twins(False)
    layer.weight.requires_grad_(False)
    x = torch.randn(4, 48, requires_grad=True)
    layer(x).sum().backward()
    assert layer.weight.grad is None and x.grad is not None
    layer.weight.requires_grad_(True)
    layer(x.detach()).sum().backward()
    assert layer.weight.grad is not None


def test_inference_other_types_and_a_switched_off_onednn_are_torchs_own(asked):
    layer, plain = twins(False)
    x = torch.randn(4, 48)
    with torch.no_grad():
        assert torch.equal(layer(x), plain(x))
    with torch.autocast("cpu", torch.bfloat16):
        assert layer(x).dtype == torch.bfloat16
    assert copy.deepcopy(layer).double()(x.double()).dtype == torch.float64
    with torch.backends.mkldnn.flags(enabled=False, allow_tf32=None):
        layer(x).sum().backward()
    assert not asked


def test_a_processor_that_rounds_to_bfloat16_is_not_asked(asked, monkeypatch):
    monkeypatch.setattr(products, "_unrounded", lambda: False)
    layer, plain = twins(False)
    x = torch.randn(4, 48)
    torch.testing.assert_close(layer(x), plain(x), rtol=0, atol=0)
    weight = torch.randn(6, 8, requires_grad=True)
    hidden, targets = torch.randn(1, 3, 8), torch.ones(1, 2, 3).long()
    chunked_cross_entropy(hidden, weight, targets, torch.ones(2), 2)
    assert not asked


def test_rounding_is_seen_where_there_is_any(monkeypatch):
    """Products of either kind, played by torch's own in another type."""
    product = torch.Tensor.__matmul__
    for dtype, unrounded in ((torch.float64, True), (torch.bfloat16, False)):
        monkeypatch.setattr(
            torch.Tensor, "__matmul__", lambda a, b, d=dtype: product(a.to(d), b.to(d)).float()
        )
        assert products._unrounded.__wrapped__() == unrounded


def test_the_first_look_is_nothing_of_the_callers():
    """Neither its counters see it, nor does it see its devices and types."""
    counter, here = FlopCounterMode(display=False), products._unrounded.__wrapped__()
    with counter, torch.device("meta"), torch.autocast("cpu", torch.bfloat16):
        assert products._unrounded.__wrapped__() == here
    assert counter.get_total_flops() == 0


def test_what_torch_was_told_is_as_before_also_after_an_error(asked):
    before = matmul.fp32_precision
    layer, _ = twins(False)
    layer(torch.randn(4, 48)).sum().backward()
    with pytest.raises(RuntimeError):
        layer(torch.randn(4, 47))
    assert matmul.fp32_precision == before
    assert torch.get_float32_matmul_precision() == "highest"  # refuses what contradicts itself


def test_threads_that_ask_at_once_leave_what_was_there():
    before = matmul.fp32_precision

    def ask(_):
        with products._asked():
            time.sleep(0.001)

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(ask, range(40)))
    assert matmul.fp32_precision == before


def test_only_float32_of_a_cpu_is_asked_for_in_a_block(asked):
    for x, expected in ((torch.zeros(1), 1), (torch.zeros(1).double(), 1)):
        with products.by_onednn(x):
            pass
        assert len(asked) == expected
