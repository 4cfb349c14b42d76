"""The chunked loss is the cross entropy of the logits, and its gradient, in less memory."""

import pytest
import torch
from torch.nn import functional as F

from musicgen_train.lm.loss import IGNORED, chunked_cross_entropy
from musicgen_train.lm.model import LanguageModel

K, CARD, D = 3, 7, 8


def problem(B=2, S=11, dtype=torch.float32):
    generator = torch.Generator().manual_seed(0)
    hidden = torch.randn(B, S, D, generator=generator, dtype=dtype).requires_grad_()
    weight = torch.randn(K * CARD, D, generator=generator, dtype=dtype).requires_grad_()
    targets = torch.randint(CARD, (B, K, S), generator=generator)
    targets[0, 1, :4] = IGNORED
    targets[1, :, 9:] = IGNORED
    return hidden, weight, targets, torch.tensor([0.5, 0.25, 0.125]) / 16


def plain(hidden, weight, targets, scales):
    """The same from all logits at once: each codebook's sum [K]."""
    logits = F.linear(hidden, weight).unflatten(-1, (K, CARD)).float()
    return torch.stack(
        [
            F.cross_entropy(logits[:, :, k].flatten(0, 1), targets[:, k].flatten(),
                            ignore_index=IGNORED, reduction="sum")
            for k in range(K)
        ]
    )  # fmt: skip


@pytest.mark.parametrize("chunk", [1, 5, 22, 1000])
def test_value_and_gradients_are_those_of_the_whole_logits(chunk):
    hidden, weight, targets, scales = problem(dtype=torch.float32)
    loss, sums = chunked_cross_entropy(hidden, weight, targets, scales, chunk)
    (3 * loss).backward()
    ours = [hidden.grad.clone(), weight.grad.clone()]
    hidden.grad = weight.grad = None
    expected = plain(hidden, weight, targets, scales)
    (3 * (expected * scales).sum()).backward()
    torch.testing.assert_close(sums, expected)
    torch.testing.assert_close(loss, (expected * scales).sum())
    torch.testing.assert_close(ours[0], hidden.grad)
    torch.testing.assert_close(ours[1], weight.grad)


def test_half_precision_multiplies_in_half_and_adds_in_full():
    hidden, weight, targets, scales = problem()
    exact, _ = chunked_cross_entropy(hidden, weight, targets, scales, 4)
    with torch.autocast("cpu", torch.bfloat16):
        loss, sums = chunked_cross_entropy(hidden, weight, targets, scales, 4)
    loss.backward()
    assert loss.dtype == sums.dtype == weight.grad.dtype == torch.float32
    assert loss != exact
    torch.testing.assert_close(loss, exact, rtol=2e-2, atol=0)


def test_gradients_of_half_precision_weights_come_in_their_type():
    hidden, weight, targets, scales = problem(dtype=torch.bfloat16)
    loss, _ = chunked_cross_entropy(hidden, weight, targets, scales, 4)
    loss.backward()
    assert hidden.grad.dtype == weight.grad.dtype == torch.bfloat16


def test_a_small_gradient_is_not_lost_to_half_precision():
    # The mean over a large batch: 1e-7 would be nothing in float16.
    hidden, weight, targets, scales = problem()
    with torch.autocast("cpu", torch.float16):
        loss, _ = chunked_cross_entropy(hidden, weight, targets, scales * 1e-6, 4)
    loss.backward()
    ours = hidden.grad / 1e-6
    hidden.grad = None
    (plain(hidden, weight, targets, scales) * scales).sum().backward()
    torch.testing.assert_close(ours, hidden.grad, rtol=0.02, atol=2e-3)


@pytest.mark.parametrize("delays", [[0, 1, 2], [0, 0, 2]])
def test_the_models_loss_is_that_of_its_logits(delays):
    torch.manual_seed(0)
    lm = LanguageModel(
        n_q=3, card=CARD, dim=16, num_heads=2, num_layers=2, delays=delays, text_dim=4
    )
    codes, lengths = torch.randint(CARD, (3, 3, 9)), torch.tensor([9, 5, 1])
    text = torch.randn(3, 2, 4), torch.tensor([[1, 1], [1, 0], [0, 0]])
    logits, mask = lm.logits(codes, text)
    mask = mask & (torch.arange(9) < lengths[:, None, None])
    expected = F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none")
    expected = (expected.view_as(mask) * mask).sum((0, 2))
    counts = lm.n_predicted(lengths, 9)
    assert counts.tolist() == mask.sum((0, 2)).tolist()
    loss, sums = lm.loss(codes, lengths, 1 / (3 * counts), text, chunk=4)
    torch.testing.assert_close(sums, expected)
    torch.testing.assert_close(loss, (expected / counts).mean())


def test_a_codebook_of_which_nothing_is_predicted_weighs_nothing():
    lm = LanguageModel(n_q=3, card=CARD, dim=16, num_heads=2, num_layers=1)
    codes, lengths = torch.randint(CARD, (2, 3, 2)), torch.tensor([2, 2])
    counts = lm.n_predicted(lengths, 2)
    assert counts.tolist() == [4, 2, 0]
    loss, sums = lm.loss(codes, lengths, 1 / counts.clamp_min(1))
    assert sums[2] == 0 and loss.isfinite()


def test_without_gradients_none_are_computed(monkeypatch):
    hidden, weight, targets, scales = problem()
    monkeypatch.setattr("musicgen_train.lm.loss._gradient", None)
    with torch.no_grad():
        loss, sums = chunked_cross_entropy(hidden, weight, targets, scales, 4)
    torch.testing.assert_close(sums, plain(hidden, weight, targets, scales).detach())
    assert not loss.requires_grad
