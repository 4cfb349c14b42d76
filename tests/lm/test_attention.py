"""Either kernel of attention gives the same numbers, and one that cannot run is refused."""

import sys

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.lm import attention
from musicgen_train.lm.model import LanguageModel
from musicgen_train.lm.transformer import seen
from musicgen_train.training.transforms import use_attention
from tests.fast_paths import stand_in_for_xformers


@pytest.fixture
def xformers(monkeypatch):
    """A package of that name whose kernel is written down: its own has no CPU operators."""
    for name in ("xformers", "xformers.ops"):
        monkeypatch.setitem(sys.modules, name, None)  # so that what was there comes back
    stand_in_for_xformers()


@pytest.mark.parametrize("case", ["causal", "mask", "cross", "all"])
def test_both_kernels_give_the_same(xformers, case):
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, 3, 7, 4) for _ in range(3))
    mask, causal = None, case == "causal"
    if case == "mask":
        mask = seen(torch.arange(7), 7, torch.tensor([0, 3]))
    if case == "cross":
        k, v = k[:, :, :5], v[:, :, :5]
        mask = torch.tensor([[1, 1, 0, 0, 0], [1, 1, 1, 1, 1]]).bool()[:, None, None]
    torch.testing.assert_close(
        attention.xformers(q, k, v, mask, causal, 0.0), attention.sdpa(q, k, v, mask, causal, 0.0)
    )


def test_a_whole_model_is_the_same_on_either(xformers):
    torch.manual_seed(0)
    lm = LanguageModel(n_q=2, card=9, dim=16, num_heads=2, num_layers=2, text_dim=4)
    codes, text = torch.randint(9, (2, 2, 6)), (torch.randn(2, 3, 4), torch.ones(2, 3))
    expected = lm.logits(codes, text)[0]
    use_attention(lm, "xformers", torch.device("cpu"))
    assert lm.layers[0].self_attn.attend is lm.layers[1].cross_attn.attend is attention.xformers
    torch.testing.assert_close(lm.logits(codes, text)[0], expected)


def test_a_kernel_that_does_not_run_here_is_refused_in_one_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "xformers.ops", None)
    with pytest.raises(UserError, match=r"attention=xformers does not run on cpu .*or use auto"):
        attention.kernel("xformers", torch.device("cpu"))
    with pytest.raises(UserError, match="attention is 'flash': use auto, sdpa, cpu or xformers"):
        attention.kernel("flash", torch.device("cpu"))
