"""A training step on a GPU is the CPU's, whichever techniques compute it."""

import copy

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.lm.model import LanguageModel
from musicgen_train.training import transforms

pytestmark = pytest.mark.gpu


def small_lm() -> LanguageModel:
    torch.manual_seed(0)
    return LanguageModel(n_q=4, card=64, dim=64, num_heads=4, num_layers=3, text_dim=32).train()


def step(lm, device, autocast=False):
    """Loss, and gradients by name, all on the CPU."""
    generator = torch.Generator().manual_seed(1)
    codes = torch.randint(64, (2, 4, 48), generator=generator).to(device)
    text = torch.randn(2, 3, 32, generator=generator).to(device)
    mask = torch.tensor([[1, 1, 1], [1, 0, 0]], device=device)
    lengths, scales = torch.tensor([48, 40]), torch.full((4,), 0.01)
    with torch.autocast(device.type, torch.bfloat16, enabled=autocast):
        loss, _ = lm.loss(codes, lengths.to(device), scales.to(device), (text, mask), chunk=16)
    loss.backward()
    return loss.detach().cpu(), {name: p.grad.cpu() for name, p in lm.named_parameters()}


def plain_and(lm, device):
    """The CPU's step, and a copy of the model on the device."""
    return step(copy.deepcopy(lm), torch.device("cpu")), copy.deepcopy(lm).to(device)


def assert_same(found, expected, **tolerance):
    torch.testing.assert_close(found[0], expected[0], **tolerance)
    for name, gradient in expected[1].items():
        torch.testing.assert_close(found[1][name], gradient, **tolerance, msg=name)


def assert_near(found, expected, loss_rtol, cosine):
    torch.testing.assert_close(found[0], expected[0], rtol=loss_rtol, atol=0)
    for name, gradient in expected[1].items():
        ours = found[1][name].float().flatten()
        assert torch.cosine_similarity(ours, gradient.flatten(), 0) > cosine, name


def test_loss_and_gradients_are_the_cpus(device):
    expected, lm = plain_and(small_lm(), device)
    assert_same(step(lm, device), expected, rtol=1e-3, atol=1e-5)


def test_recomputed_layers_give_the_same(device):
    expected, lm = plain_and(small_lm(), device)
    transforms.recompute_layers(lm)
    assert_same(step(lm, device), expected, rtol=1e-3, atol=1e-5)


def test_compiled_layers_give_the_same(device):
    expected, lm = plain_and(small_lm(), device)
    torch._dynamo.reset()
    transforms.compile_layers(lm)
    assert_same(step(lm, device), expected, rtol=1e-3, atol=1e-5)


def test_bfloat16_autocast_is_near(device):
    expected, lm = plain_and(small_lm(), device)
    assert_near(step(lm, device, autocast=True), expected, 0.01, 0.99)


def test_a_fused_update_is_the_plain_one(device):
    updated = []
    for fused in (False, True):
        lm = small_lm().to(device)
        optimizer = torch.optim.AdamW(lm.parameters(), lr=1e-2, fused=fused, weight_decay=0.1)
        for _ in range(3):
            optimizer.zero_grad()
            step(lm, device)
            optimizer.step()
        updated.append(lm.state_dict())
    for name, weight in updated[0].items():
        torch.testing.assert_close(updated[1][name], weight, rtol=1e-4, atol=1e-5, msg=name)


def test_xformers_attention_gives_the_same(device):
    expected, lm = plain_and(small_lm(), device)
    try:
        transforms.use_attention(lm, "xformers", device)
    except UserError as error:
        pytest.skip(str(error))
    assert_same(step(lm, device), expected, rtol=1e-3, atol=1e-4)


def test_8_bit_products_are_near(device):
    pytest.importorskip("torchao")
    expected, lm = plain_and(small_lm(), device)
    try:
        transforms.check_float8(device)
    except UserError as error:
        pytest.skip(str(error))
    transforms.use_float8(lm)
    assert_near(step(lm, device, autocast=True), expected, 0.03, 0.9)
