"""The estimate before a training: memory is right by measure, time by order, and it refuses."""

import pytest
import torch
from torch import nn

from musicgen_train.errors import UserError
from musicgen_train.training.estimate import StepEstimate, available_memory, estimate_step


def test_memory_counts_the_weights_and_what_is_kept_for_the_backward_pass():
    net = nn.Sequential(nn.Linear(100, 200, bias=False), nn.Sigmoid())
    estimate = estimate_step(net, lambda size: net(torch.ones(size, 100)).sum(), 8, n_copies=4)
    assert estimate.fixed_memory == 4 * 4 * 100 * 200
    # Per item: the input of the linear layer, and the output of the sigmoid.
    assert estimate.item_memory == 4 * (100 + 200)
    assert estimate.memory == estimate.fixed_memory + 8 * estimate.item_memory
    assert estimate.seconds > 0
    assert net[0].weight.grad is None


def test_a_batch_that_does_not_fit_is_refused_with_one_that_does():
    estimate = StepEstimate(batch_size=64, fixed_memory=1e9, item_memory=1e9, seconds=1.0)
    estimate.check(70e9)
    estimate.check(None)
    with pytest.raises(UserError, match=r"65\.0 GB, but 10\.0 GB are free: data\.batch_size=9 f"):
        estimate.check(10e9)
    with pytest.raises(UserError, match="shorten the crops"):
        estimate.check(1.5e9)


def test_the_machine_says_how_much_memory_is_free():
    free = available_memory(torch.device("cpu"))
    assert free is None or 1e6 < free < 1e14
