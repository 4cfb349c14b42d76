"""What limits rest on is what torch counts, to the last operation."""

import pytest
import torch
from torch import nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from benchmarks.flops import counted_flops, step_cost, training_flops
from benchmarks.lm_models import Shape, our_model
from benchmarks.train_models import TECHNIQUES, our_loss, random_batch
from musicgen_train.lm import decoder

SHAPE = Shape(32, 2, 2)


@pytest.mark.plain("recompute")
def test_a_training_step_has_the_operations_that_torch_counts():
    batch = random_batch(SHAPE, 2, 12, "cpu")
    for way in ("plain", "chunked loss"):
        lm = our_model(SHAPE, "cpu", text_dim=32)
        loss = our_loss(lm, batch, chunked=TECHNIQUES[way].chunked)
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            loss().backward()
        assert training_flops(lm, 2, 12, batch.text.shape[1]) == counter.get_total_flops()


@pytest.mark.plain("packed")
def test_a_step_of_generation_has_the_operations_that_torch_counts(monkeypatch):
    lm, counted = our_model(SHAPE, "cpu", text_dim=24).eval(), []
    fill = decoder.Decoder.fill

    def counting(self, n_visible):
        with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
            fill(self, n_visible)
        counted.append((n_visible, counter.get_total_flops()))

    monkeypatch.setattr(decoder.Decoder, "fill", counting)
    lm.generate(6, (torch.randn(3, 5, 24), torch.ones(3, 5)), greedy=True, cfg_coef=3.0)
    for visible, flops in counted:
        assert step_cost(lm, 6, visible, 5)[0] == flops
    assert counted


def test_lstms_count_although_torch_does_not_count_them():
    lstm = torch.nn.LSTM(8, 4, num_layers=2)
    linear = torch.nn.Linear(4, 3)
    x = torch.randn(5, 2, 8)
    gates = 4 * (8 * 4 + 4 * 4) + 4 * (4 * 4 + 4 * 4)
    expected = 2 * 10 * (gates + 4 * 3)
    assert counted_flops(lambda: linear(lstm(x)[0]), lstm, linear) == expected


@pytest.mark.parametrize(
    ("layer", "shape", "flops"),
    [
        (nn.Linear(3, 5), (2, 3), 2 * 2 * 3 * 5),
        (nn.LSTM(3, 4), (7, 2, 3), 2 * 7 * 2 * 4 * 4 * (3 + 4)),
        (nn.Conv1d(3, 5, 2), (1, 3, 9), 2 * 8 * 5 * 3 * 2),
    ],
)
def test_flops_are_those_of_the_matrices(layer, shape, flops):
    assert counted_flops(lambda: layer(torch.zeros(shape)), layer) == flops
