"""What is done to a language model from outside does not change what it computes."""

import copy
import sys

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.lm.model import LanguageModel
from musicgen_train.training.transforms import (
    check_float8,
    compile_layers,
    recompute_layers,
    use_float8,
)


def small_lm(dropout=0.0):
    torch.manual_seed(0)
    return LanguageModel(
        n_q=2, card=16, dim=32, num_heads=2, num_layers=3, text_dim=16, dropout=dropout
    ).train()


def gradients(lm):
    """Loss and gradients of a step that draws dropout anew."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(16, (2, 2, 12), generator=generator)
    text = torch.randn(2, 3, 16, generator=generator), torch.tensor([[1, 1, 1], [1, 0, 0]])
    torch.manual_seed(2)
    loss, _ = lm.loss(codes, torch.tensor([12, 9]), torch.full((2,), 0.02), text)
    loss.backward()
    return loss.detach(), {name: p.grad for name, p in lm.named_parameters()}


@pytest.mark.parametrize("dropout", [0.0, 0.5])
def test_recomputed_layers_give_the_same_gradients_bitwise_also_with_dropout(dropout):
    lm = small_lm(dropout)
    other = copy.deepcopy(lm)
    recompute_layers(other)
    (loss, ours), (theirs_loss, theirs) = gradients(lm), gradients(other)
    assert torch.equal(loss, theirs_loss)
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def kept(lm):
    """Bytes that autograd keeps for the backward pass, weights left out."""
    sizes, own = {}, {p.data_ptr() for p in lm.parameters()}

    def pack(tensor):
        if tensor.data_ptr() not in own:
            sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
        gradients(lm)
    return sum(sizes.values())


@pytest.mark.plain("recompute")
def test_recomputed_layers_keep_a_fraction():
    plain = small_lm()
    recomputed = copy.deepcopy(plain)
    recompute_layers(recomputed)
    assert kept(recomputed) < 0.4 * kept(plain)


def test_a_recomputed_model_can_be_copied_and_generates():
    lm = small_lm()
    expected = lm.eval().generate(6, seeds=[1])
    recompute_layers(lm)
    twin = copy.deepcopy(lm)
    for p in lm.parameters():
        p.data.zero_()
    assert torch.equal(twin.generate(6, seeds=[1]), expected)  # with its own weights


@pytest.mark.slow
@pytest.mark.parametrize("recompute", [False, True])
def test_compiled_layers_compute_the_same_and_are_compiled_once(recompute):
    lm = small_lm()
    other = copy.deepcopy(lm)
    if recompute:
        recompute_layers(other)
    torch._dynamo.reset()
    compile_layers(other)
    with torch._dynamo.config.patch(error_on_recompile=True):
        (loss, ours), (theirs_loss, theirs) = gradients(lm), gradients(other)
    torch.testing.assert_close(theirs_loss, loss)
    for name, grad in ours.items():
        torch.testing.assert_close(theirs[name], grad, msg=name)
    assert list(other.state_dict()) == list(lm.state_dict())


def test_8_bit_products_are_close_and_names_stay():
    pytest.importorskip("torchao")
    lm = small_lm()
    other = copy.deepcopy(lm)
    use_float8(other, emulate=True)
    (loss, ours), (theirs_loss, theirs) = gradients(lm), gradients(other)
    assert loss != theirs_loss
    torch.testing.assert_close(theirs_loss, loss, rtol=0.02, atol=0)
    assert ours.keys() == theirs.keys()
    name = "layers.1.ffn.up.weight"
    cosine = torch.cosine_similarity(ours[name].flatten(), theirs[name].flatten(), 0)
    assert cosine > 0.95
    assert list(other.state_dict()) == list(lm.state_dict())


def test_8_bit_products_are_refused_where_there_are_none(monkeypatch):
    with pytest.raises(UserError, match=r"task\.float8 needs a Hopper GPU or later, not cpu"):
        check_float8(torch.device("cpu"))
    monkeypatch.setitem(sys.modules, "torchao.float8", None)
    with pytest.raises(UserError, match=r"task\.float8 needs torchao"):
        use_float8(small_lm())
