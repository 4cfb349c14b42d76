import numpy as np
import pytest

from musicgen_train.evaluation.metrics.intervals import (
    basic_bootstrap,
    bootstrap_mean,
    debiased,
    share_interval,
    t_mean,
    t_ratio,
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


def test_a_ratio_over_ones_is_a_mean_and_does_not_change_with_the_unit():
    values, tracks = np.random.default_rng(1).normal(5, 2, 40).tolist(), list(range(40))
    assert t_ratio(values, [1.0] * 40, tracks) == pytest.approx(t_mean(values))
    low, high = t_ratio(values, [1.0] * 40, tracks)
    assert t_ratio(values, [2.0] * 40, tracks) == pytest.approx((low / 2, high / 2))


def test_an_interval_of_a_ratio_holds_the_truth_nineteen_times_in_twenty():
    rng, held, trials = np.random.default_rng(0), 0, 400
    for _ in range(trials):
        real = rng.uniform(0.4, 1.0, 24)
        ours = real * rng.uniform(0.2, 1.0, 24)  # 0.6 of it
        low, high = t_ratio(ours.tolist(), real.tolist(), list(range(24)))
        held += low < 0.6 < high
    assert 0.92 < held / trials < 0.98


def test_a_ratio_to_nothing_or_of_one_group_has_no_interval():
    assert t_ratio([1.0, 2.0], [0.0, 0.0], "ab") is None
    assert t_ratio([1.0, 2.0], [1.0, 1.0], "aa") is None


def test_a_share_of_none_or_all_has_a_width_and_others_their_exact_interval():
    assert share_interval(0.0, 10) == pytest.approx((0.0, 1 - 0.025**0.1))
    assert share_interval(1.0, 10) == pytest.approx((0.025**0.1, 1.0))
    # 4 of 20, from the tables of Clopper and Pearson
    assert share_interval(0.2, 20) == pytest.approx((0.0573, 0.4366), abs=1e-4)
    assert share_interval(0.0, 0) is None
