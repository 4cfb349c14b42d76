"""A million steps in simulation: rates, averaged weights and random draws stay what they are."""

import math
import random

import numpy as np
import pytest
import torch
from torch.optim.swa_utils import get_ema_multi_avg_fn

from musicgen_train.conditioning.dropout import drop_conditions
from musicgen_train.data.order import _mix, draw_seed, hash_of
from musicgen_train.training.schedule import (
    warmup_constant,
    warmup_cosine,
    warmup_stable_decay,
)

MILLION = 1_000_000
SEED = 1234
# The optimizer of a simulated run takes no steps.
pytestmark = pytest.mark.filterwarnings("ignore:Detected call of .lr_scheduler.step")


def cosine(step):
    return 0.05 + 0.475 * (1 + math.cos(math.pi * (step - 4000) / (MILLION - 4000)))


def stable_then_decay(step):
    return 1.0 if step < 900_000 else 1 - math.sqrt((step - 900_000) / 100_000)


SCHEDULES = {  # factory, settings, closed form after the warm-up
    "cosine": (warmup_cosine, {"max_steps": MILLION, "min_ratio": 0.05}, cosine),
    "wsd": (
        warmup_stable_decay,
        {"max_steps": MILLION, "decay_steps": 100_000},
        stable_then_decay,
    ),
    "constant": (warmup_constant, {}, lambda step: 1.0),
}


def started(factory, settings):
    """An optimizer at rate 3 and its schedule with 4000 steps of warm-up."""
    optimizer = torch.optim.SGD([torch.zeros(1)], lr=3.0)
    optimizer.step()
    return optimizer, factory(optimizer, warmup_steps=4000, **settings)


def restarted(factory, settings, old, old_schedule):
    """The same from what a checkpoint holds of them."""
    optimizer, schedule = started(factory, settings)
    optimizer.load_state_dict(old.state_dict())
    schedule.load_state_dict(old_schedule.state_dict())
    return optimizer, schedule


@pytest.mark.parametrize("name", SCHEDULES)
def test_a_rate_is_that_of_its_step_wherever_the_run_was_resumed(name):
    factory, settings, closed = SCHEDULES[name]
    rng = random.Random(SEED)
    for start in (4000, rng.randrange(4000, 899_000), rng.randrange(901_000, 998_000), 998_000):
        optimizer, schedule = started(factory, settings)
        schedule.last_epoch = start - 1
        schedule.step()
        optimizer, schedule = restarted(factory, settings, optimizer, schedule)
        for step in range(start, start + 2000):
            assert optimizer.param_groups[0]["lr"] == pytest.approx(3 * closed(step), abs=1e-12)
            schedule.step()


@pytest.mark.slow
@pytest.mark.parametrize("name", SCHEDULES)
def test_a_rate_driven_a_million_steps_ends_at_the_closed_form(name):
    factory, settings, closed = SCHEDULES[name]
    optimizer, schedule = started(factory, settings)
    resumes = set(random.Random(SEED).sample(range(MILLION), 3))
    for step in range(1, MILLION):
        schedule.step()
        if step in resumes:
            optimizer, schedule = restarted(factory, settings, optimizer, schedule)
    assert schedule.last_epoch == MILLION - 1
    assert optimizer.param_groups[0]["lr"] == pytest.approx(3 * closed(MILLION - 1), abs=1e-12)


def averages(decay, dtype, n_updates, weight):
    """The average after n updates with `weight(i)` [W] float64, as training keeps it."""
    average = [weight(0).to(dtype)]
    update = get_ema_multi_avg_fn(decay)
    for i in range(1, n_updates + 1):
        update(average, [weight(i).to(dtype)], i)
    return average[0].double()


def wandering(n_updates):
    """Weights that grow by a fifth in n updates and shake by a hundredth; -> weight(i)."""
    shake = torch.randn(4096, 8, generator=torch.Generator().manual_seed(0)).double()
    start = torch.linspace(0.01, 1.0, 8).double()
    return lambda i: start * (1 + 0.2 * i / n_updates + 0.01 * shake[i % 4096])


def in_float64(decay, n_updates, weight):
    """The closed form: sum over i of (1 - decay) decay^(n - i) w_i, and decay^n w_0."""
    last = min(n_updates, math.ceil(math.log(1e-18) / math.log(decay)))  # older ones weigh nothing
    updates = range(n_updates - last + 1, n_updates + 1)
    powers = decay ** torch.arange(last - 1, -1, -1, dtype=torch.float64)
    seen = torch.stack([weight(i) for i in updates])
    oldest = weight(0) if last == n_updates else weight(n_updates - last)
    return (1 - decay) * (powers[:, None] * seen).sum(0) + decay**last * oldest


def error(decay, dtype, n_updates):
    weight = wandering(n_updates)
    exact = in_float64(decay, n_updates, weight)
    return ((averages(decay, dtype, n_updates, weight) - exact) / exact).abs().max().item()


@pytest.mark.parametrize(("decay", "n_updates"), [(0.99, 10_000), (0.9999, 20_000)])
def test_an_average_in_float32_is_that_of_float64(decay, n_updates):
    assert error(decay, torch.float32, n_updates) < 1e-5


@pytest.mark.slow
@pytest.mark.parametrize(
    ("decay", "n_updates"), [(0.99, MILLION // 10), (0.9999, MILLION)], ids=["every 10", "every"]
)
def test_an_average_in_float32_does_not_drift_in_a_million_steps(decay, n_updates):
    assert error(decay, torch.float32, n_updates) < 2e-5


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16])
@pytest.mark.parametrize("decay", [0.99, 0.9999])
def test_an_average_stops_short_by_half_a_last_place_over_the_rate(decay, dtype):
    """Why averages are kept in float32: in half precision hardly any of the way is gone."""
    start, rest = torch.tensor([1.0]).double(), torch.tensor([1.5]).double()
    short = torch.finfo(dtype).eps / 2 / (1 - decay) / 0.5  # as a share of the way
    n_updates = math.ceil(2 * math.log(min(short, 0.5)) / math.log(decay))
    reached = averages(decay, dtype, n_updates, lambda i: rest if i else start)
    assert ((rest - reached) / 0.5).item() == pytest.approx(min(1.0, short), rel=0.05)


PROBABILITIES = {"cfg_dropout": 0.3, "text_dropout": 0.1, "chroma_dropout": 0.5}
ALL = torch.tensor(list(PROBABILITIES.values()))


def draws(positions):
    """What each position of the stream draws first: [n, 3] uniform."""
    generator = torch.Generator()
    seeds = (draw_seed(SEED, position) for position in positions)
    return torch.stack([torch.rand(3, generator=generator.manual_seed(s)) for s in seeds])


def deviation(dropped, p):
    """How many binomial standard deviations a frequency is from p."""
    n = len(dropped)
    return abs(dropped.double().mean().item() - p) / math.sqrt(p * (1 - p) / n)


def all_seeds(n):
    """`draw_seed` of positions 0..n-1 at once: [n] uint64."""
    return _mix(np.arange(n, dtype=np.uint64) ^ np.uint64(hash_of(SEED, 3)))


@pytest.mark.parametrize("start", [0, MILLION // 2, MILLION - 5000])
def test_conditions_are_dropped_as_often_early_and_late(start):
    seeds = [draw_seed(SEED, position) for position in range(start, start + 5000)]
    generators = [torch.Generator().manual_seed(seed) for seed in seeds]
    texts, chroma = drop_conditions(
        ["text"] * 5000, torch.ones(5000, 1, 12), generators, **PROBABILITIES
    )
    dropped = torch.tensor([not text for text in texts])
    assert chroma is not None
    silent = chroma.amax((1, 2)) == 0
    assert deviation(dropped, 1 - 0.7 * 0.9) < 4
    assert deviation(silent, 1 - 0.7 * 0.5) < 4
    assert deviation(dropped & silent, 0.3 + 0.7 * 0.1 * 0.5) < 4


@pytest.mark.slow
def test_a_million_positions_draw_with_the_same_frequencies_and_apart():
    uniform = draws(range(MILLION))
    for part in (uniform, *uniform.split(MILLION // 10)):
        for column, p in enumerate(ALL.tolist()):
            assert deviation(part[:, column] < p, p) < 4.5
    for lag in (1, 2, 8, 192):
        pairs = uniform[:-lag], uniform[lag:]
        for column in range(3):
            both = torch.stack([side[:, column].double() for side in pairs])
            correlation = torch.corrcoef(both)[0, 1].item()
            assert abs(correlation) < 4.5 / math.sqrt(MILLION - lag), (lag, column)


def test_neighbouring_positions_are_uncorrelated():
    uniform = draws(range(20_000)).double()
    for column in range(3):
        both = torch.stack([uniform[:-1, column], uniform[1:, column]])
        assert abs(torch.corrcoef(both)[0, 1].item()) < 4 / math.sqrt(20_000)


def test_no_two_of_a_million_positions_share_a_seed():
    seeds = all_seeds(MILLION)
    for position in (0, 1, 77_777, MILLION - 1):
        assert int(seeds[position]) == draw_seed(SEED, position)
    assert len(np.unique(seeds)) == MILLION
    # torch's generator takes 32 bits of a seed: pairs that draw alike are as rare as by chance.
    alike = MILLION - len(np.unique(seeds & np.uint64(0xFFFFFFFF)))
    expected = MILLION**2 / 2**33
    assert abs(alike - expected) < 5 * math.sqrt(expected)
