"""Schedules: what they are at every step, whatever stops and goes on, and what they refuse."""

import math

import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.training.schedule import (
    warmup_constant,
    warmup_cosine,
    warmup_stable_decay,
)


def rates(schedule, n, lrs=(1.0,), **settings):
    """What the first n steps are trained with: one list a group."""
    groups = [{"params": [torch.zeros(1)], "lr": lr} for lr in lrs]
    optimizer = torch.optim.SGD(groups)
    scheduler = schedule(optimizer, **settings)
    seen = []
    for _ in range(n):
        seen.append([group["lr"] for group in optimizer.param_groups])
        optimizer.step()
        scheduler.step()
    return [list(group) for group in zip(*seen, strict=True)]


def test_the_cosine_keeps_its_numbers():
    (seen,) = rates(warmup_cosine, 11, warmup_steps=4, max_steps=10, min_ratio=0.1)
    expected = [0.2, 0.4, 0.6, 0.8]
    expected += [0.1 + 0.45 * (1 + math.cos(math.pi * i / 6)) for i in range(7)]
    assert seen == pytest.approx(expected, abs=1e-15)


@pytest.mark.parametrize(
    ("decay", "tail"),
    [
        ("linear", [1.0, 0.775, 0.55, 0.325, 0.1]),
        ("sqrt", [1.0, 0.55, 1 - 0.9 * math.sqrt(0.5), 1 - 0.9 * math.sqrt(0.75), 0.1]),
    ],
)
def test_stable_decay_warms_up_stays_and_decays_to_its_least(decay, tail):
    settings = {"warmup_steps": 3, "max_steps": 12, "decay_steps": 4, "min_ratio": 0.1}
    (seen,) = rates(warmup_stable_decay, 14, decay=decay, **settings)
    assert seen == pytest.approx([0.25, 0.5, 0.75] + [1.0] * 5 + [*tail, 0.1], abs=1e-15)


def test_a_stable_run_goes_on_for_longer_as_if_that_had_been_meant_from_the_start():
    settings = {"warmup_steps": 3, "decay_steps": 4}
    (longer,) = rates(warmup_stable_decay, 30, max_steps=30, **settings)
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = warmup_stable_decay(optimizer, max_steps=12, **settings)
    for _ in range(8):  # up to the decay
        optimizer.step()
        scheduler.step()
    state, optimizer_state = scheduler.state_dict(), optimizer.state_dict()
    resumed = torch.optim.SGD([torch.zeros(1)], lr=1.0)
    scheduler = warmup_stable_decay(resumed, max_steps=30, **settings)
    resumed.load_state_dict(optimizer_state)
    scheduler.load_state_dict(state)
    seen = []
    for _ in range(8, 30):
        seen.append(resumed.param_groups[0]["lr"])
        resumed.step()
        scheduler.step()
    assert seen == longer[8:]


def test_a_constant_rate_has_no_end_and_may_warm_up():
    assert rates(warmup_constant, 4) == [[1.0] * 4]
    assert rates(warmup_constant, 4, warmup_steps=1) == [[0.5, 1.0, 1.0, 1.0]]


def test_groups_keep_the_ratio_of_their_rates():
    small, large = rates(warmup_cosine, 20, (0.01, 0.2), warmup_steps=5, max_steps=20)
    assert large == pytest.approx([20 * lr for lr in small])


@pytest.mark.parametrize(
    ("schedule", "settings", "message"),
    [
        (warmup_cosine, {"warmup_steps": 10, "max_steps": 10}, "warmup_steps is 10, but the run"),
        (warmup_cosine, {"warmup_steps": -1, "max_steps": 10}, "warmup_steps is -1: give 0"),
        (warmup_cosine, {"warmup_steps": 0, "max_steps": 1, "min_ratio": 2}, "min_ratio is 2"),
        (warmup_constant, {"warmup_steps": -1}, "warmup_steps is -1"),
        (
            warmup_stable_decay,
            {"warmup_steps": 2, "max_steps": 10, "decay_steps": 9},
            r"decay_steps is 9, but max_steps=10 less schedule.warmup_steps=2 leaves 1 to 8",
        ),
        (
            warmup_stable_decay,
            {"warmup_steps": 2, "max_steps": 10, "decay_steps": 0},
            "decay_steps is 0",
        ),
        (
            warmup_stable_decay,
            {"warmup_steps": 2, "max_steps": 10, "decay_steps": 4, "decay": "cosine"},
            "decay is 'cosine': choose one of linear, sqrt",
        ),
    ],
)
def test_what_no_run_can_follow_is_refused_in_one_line(schedule, settings, message):
    with pytest.raises(UserError, match=message) as refusal:
        schedule(torch.optim.SGD([torch.zeros(1)], lr=1.0), **settings)
    assert "\n" not in str(refusal.value)
