"""The estimate before a training: it grows with the batch, and refuses what does not fit."""

import pytest
import torch
from torch import nn

from musicgen_train.errors import UserError
from musicgen_train.training.estimate import StepEstimate, available_memory, estimate_step


def test_memory_grows_by_what_an_item_keeps_for_the_backward_pass():
    net = nn.Sequential(nn.Linear(1000, 8000, bias=False), nn.Sigmoid())

    def loss(size: int) -> torch.Tensor:
        return net(torch.ones(size * 2000, 1000)).sum()

    estimate = estimate_step(net, loss, 8, torch.device("cpu"))
    # The input, the linear layer's output, the sigmoid's, and a gradient of it at the same time.
    low, high = 4 * 2000 * (1000 + 2 * 8000), 4 * 2000 * (1000 + 4 * 8000)
    assert low < estimate.item_memory < high
    assert estimate.memory == estimate.fixed_memory + 8 * estimate.item_memory
    assert estimate.fixed_memory > 4 * 4 * 1000 * 8000  # weights, gradients, Adam's averages
    assert 0 < estimate.seconds < 100
    assert net[0].weight.grad is None


def test_a_batch_that_does_not_fit_is_refused_with_one_that_does():
    estimate = StepEstimate(batch_size=64, fixed_memory=1e9, item_memory=1e9, seconds=1.0)
    estimate.check(70e9)
    estimate.check(None)
    with pytest.raises(UserError, match=r"65\.0 GB, but 10\.0 GB are there: data\.batch_size=9 f"):
        estimate.check(10e9)
    with pytest.raises(UserError, match="shorten the crops"):
        estimate.check(1.5e9)


def test_the_machine_says_how_much_memory_there_is():
    there = available_memory(torch.device("cpu"))
    assert there is None or 1e8 < there < 1e14
