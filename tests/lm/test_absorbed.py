"""Cross-attention that absorbs its projections is the same attention, and taken where it pays."""

import copy

import pytest
import torch

from musicgen_train.adapters.injection import inject
from musicgen_train.lm import transformer
from musicgen_train.lm.absorbed import pays
from musicgen_train.lm.model import LanguageModel
from musicgen_train.lm.transformer import Condition, CrossAttention
from musicgen_train.training.transforms import use_attention

CPU = torch.device("cpu")


def layer_and_inputs(batch=3, steps=40, tokens=5, dim=32, heads=4):
    torch.manual_seed(0)
    layer = CrossAttention(dim, heads, dropout=0.0)
    x = torch.randn(batch, steps, dim, requires_grad=True)
    text = torch.randn(batch, tokens, dim, requires_grad=True)
    seen = torch.arange(tokens) < torch.tensor([tokens, 2, 1])[:batch, None]
    return layer, x, Condition(text, seen[:, None, None])


def found(layer, x, condition, upstream):
    y = layer(x, condition)
    wanted = [x, condition.tokens, *layer.parameters()]
    return [y, *torch.autograd.grad(y, wanted, upstream)]


def test_output_and_gradients_are_those_of_the_plain_layer(monkeypatch):
    layer, x, condition = layer_and_inputs()
    upstream = torch.randn(x.shape)
    plain = found(layer, x, condition, upstream)
    layer.absorb = True
    monkeypatch.setattr(layer, "attend", None)  # which it does without
    torch.testing.assert_close(found(layer, x, condition, upstream), plain, rtol=1e-4, atol=1e-5)


def test_tokens_that_are_hidden_change_nothing():
    layer, x, condition = layer_and_inputs()
    layer.absorb = True
    changed = condition.tokens.detach().clone()
    changed[1, 2:], changed[2, 1:] = 7, 7
    assert torch.equal(layer(x, condition), layer(x, condition._replace(tokens=changed)))


def operations(n_steps, n_tokens, dim, heads, absorb):
    """Of the products that differ, counted by torch."""
    from torch.utils.flop_counter import FlopCounterMode

    layer, x, condition = layer_and_inputs(2, n_steps, n_tokens, dim, heads)
    layer.absorb = absorb
    counter = FlopCounterMode(display=False)
    backend = torch.nn.attention.sdpa_kernel(torch.nn.attention.SDPBackend.MATH)
    with torch.no_grad(), counter, backend:
        layer(x, condition)
    return counter.get_total_flops()


@pytest.mark.parametrize(
    "shape", [(40, 5, 32, 4), (40, 7, 32, 4), (250, 12, 64, 2), (9, 4, 32, 2), (3, 2, 32, 4)]
)
def test_it_is_taken_where_torch_counts_fewer_operations(shape, monkeypatch):
    monkeypatch.setattr(transformer, "pays", lambda *_: True)
    fewer = operations(*shape, absorb=True) < operations(*shape, absorb=False)
    steps, tokens, dim, heads = shape
    assert pays(steps, tokens, dim, heads) == fewer


def small_lm(**options):
    torch.manual_seed(0)
    return LanguageModel(
        n_q=2, card=16, dim=32, num_heads=2, num_layers=2, text_dim=8, **options
    ).train()


def gradients(lm):
    codes = torch.randint(16, (2, 2, 30), generator=torch.Generator().manual_seed(1))
    text = torch.ones(2, 3, 8), torch.tensor([[1, 1, 1], [0, 0, 0]])  # one without a text
    loss, _ = lm.loss(codes, torch.tensor([30, 20]), torch.full((2,), 0.02), text)
    loss.backward()
    return {name: p.grad for name, p in lm.named_parameters() if p.grad is not None}


@pytest.mark.plain("recompute", "cpu")
def test_a_whole_model_trains_the_same(monkeypatch):
    plain, calls = small_lm(), []
    ours = copy.deepcopy(plain)
    use_attention(ours, "auto", CPU)
    absorbed = transformer.absorbed_attention
    monkeypatch.setattr(
        transformer, "absorbed_attention", lambda *a: calls.append(1) or absorbed(*a)
    )
    torch.testing.assert_close(gradients(ours), gradients(plain), rtol=1e-4, atol=1e-6)
    assert len(calls) == 2  # in either layer of ours


@pytest.mark.parametrize("case", ["sdpa", "dropout", "adapter"])
def test_where_it_cannot_the_layer_is_plain(case, monkeypatch):
    monkeypatch.setattr(transformer, "absorbed_attention", None)
    lm = small_lm(dropout=0.1 if case == "dropout" else 0.0)
    if case == "adapter":
        targets = ["cross_attn.q"]
        inject(lm, kind="lora", rank=2, alpha=2.0, dropout=0.0, targets=targets, base_name="small")
    use_attention(lm, "sdpa" if case == "sdpa" else "auto", CPU)
    assert gradients(lm)
