"""Attention by blocks is causal attention, with its gradients, wherever it takes torch's place."""

import pytest
import torch

from musicgen_train.lm import attention
from musicgen_train.lm.attention import blocks, sdpa
from musicgen_train.lm.block_attention import BLOCK, LONGEST, block_attention


def sequences(length, dtype=torch.float32, heads=3):
    torch.manual_seed(length)
    x = torch.randn(2, length, 3, heads, 8, dtype=dtype)
    return [t.transpose(1, 2).requires_grad_() for t in x.unbind(2)]  # strided, as a model's are


def with_gradients(attend, inputs, upstream):
    y = attend(*inputs, None, True, 0.0)
    return [y.detach(), *torch.autograd.grad(y, inputs, upstream.to(y.dtype))]


@pytest.mark.parametrize("length", [2, BLOCK - 1, BLOCK, BLOCK + 1, 3 * BLOCK + 5, LONGEST])
def test_output_and_gradients_are_torchs(length):
    inputs = sequences(length)
    upstream = torch.randn(inputs[0].shape)
    found = with_gradients(blocks, inputs, upstream)
    torch.testing.assert_close(found, with_gradients(sdpa, inputs, upstream), rtol=1e-4, atol=1e-5)


def test_gradients_are_the_slopes_of_the_output():
    inputs = [x.detach().double().requires_grad_() for x in sequences(5, heads=1)]
    # In float32 inside: a step large enough for its digits.
    assert torch.autograd.gradcheck(block_attention, inputs, eps=1e-2, atol=1e-3, rtol=1e-2)


def test_nothing_of_the_future_is_seen():
    q, k, v = sequences(2 * BLOCK)
    changed = [x.detach().clone() for x in (k, v)]
    for x in changed:
        x[:, :, 100:] += 1
    before, after = block_attention(q, k, v), block_attention(q, *changed)
    assert torch.equal(before[:, :, :100], after[:, :, :100])
    assert not torch.equal(before[:, :, 100:], after[:, :, 100:])


def test_bfloat16_is_computed_in_float32_also_under_autocast():
    inputs = [x.detach().bfloat16().requires_grad_() for x in sequences(90)]
    exact = block_attention(*(x.float() for x in inputs))
    with torch.autocast("cpu", torch.bfloat16):
        y = block_attention(*inputs)
    assert y.dtype == torch.bfloat16 and torch.equal(y, exact.bfloat16())
    gradients = torch.autograd.grad(y.sum(), inputs)
    assert all(g.dtype == torch.bfloat16 for g in gradients)


@pytest.mark.parametrize("case", ["no gradient", "mask", "cross", "dropout", "long", "not causal"])
def test_all_else_is_torchs(case, monkeypatch):
    monkeypatch.setattr(attention, "block_attention", None)
    q, k, v = sequences(LONGEST + 1 if case == "long" else 6)
    mask, causal = None, case not in ("mask", "cross", "not causal")
    if case == "mask":
        mask = torch.ones(6, 6).bool().tril()
    if case == "cross":
        k, v = k[:, :, :4], v[:, :, :4]
    dropout = 0.5 if case == "dropout" else 0.0
    with torch.set_grad_enabled(case != "no gradient"):
        assert blocks(q, k, v, mask, causal, dropout).shape == q.shape


def test_auto_is_blocks_on_a_cpu_and_torchs_on_a_gpu():
    assert attention.kernel("auto", torch.device("cpu")) is blocks
    assert attention.kernel("auto", torch.device("cuda")) is sdpa
