import numpy as np
import pytest

from musicgen_train.evaluation.metrics.intervals import (
    basic_bootstrap,
    bootstrap_mean,
    debiased,
    t_mean,
)


def test_the_basic_interval_mirrors_the_draws_at_the_estimate():
    draws = np.linspace(3, 5, 1001)  # an estimate of 2 whose resamples all lie above it
    found = basic_bootstrap(2.0, draws, level=0.9)
    assert found == pytest.approx((4 - 4.9, 4 - 3.1))
    assert debiased(2.0, draws) == pytest.approx(0.0)


def test_draws_around_an_unbiased_estimate_give_the_percentiles():
    draws = np.random.default_rng(0).normal(1, 0.1, 20_000)
    low, high = basic_bootstrap(1.0, draws)
    assert (low, high) == pytest.approx(tuple(np.quantile(draws, (0.025, 0.975))), abs=0.01)


@pytest.mark.parametrize("interval", [bootstrap_mean, t_mean])
def test_both_intervals_of_a_mean_are_the_normal_one_for_many_values(interval):
    values = np.random.default_rng(1).normal(5, 2, 400)
    half = 1.96 * values.std(ddof=1) / 20
    expected = (values.mean() - half, values.mean() + half)
    assert interval(values) == pytest.approx(expected, abs=0.03)


@pytest.mark.parametrize("interval", [bootstrap_mean, t_mean])
def test_repeating_each_value_within_its_group_tells_nothing_new(interval):
    values = np.random.default_rng(1).normal(0, 1, 50)
    repeated = interval(np.repeat(values, 10), np.repeat(np.arange(50), 10).tolist())
    assert repeated == pytest.approx(interval(values))


@pytest.mark.parametrize("interval", [bootstrap_mean, t_mean])
def test_undefined_values_are_left_out_and_one_group_has_no_interval(interval):
    assert interval([1.0, np.nan, 2.0]) == pytest.approx(interval([1.0, 2.0]))
    assert interval([1.0, 2.0], "aa") is None
    assert interval([]) is None


def test_few_values_have_the_wider_tails_of_student():
    values = np.array([1.0, 2.0, 3.0, 4.0])
    half = 3.182 * values.std(ddof=1) / 2
    assert t_mean(values) == pytest.approx((2.5 - half, 2.5 + half), abs=1e-3)


def test_the_seed_decides_the_draws():
    values = np.random.default_rng(1).normal(5, 2, 30)
    assert bootstrap_mean(values, seed=1) == bootstrap_mean(values, seed=1)
    assert bootstrap_mean(values, seed=1) != bootstrap_mean(values, seed=2)
