import numpy as np
import pytest

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference, frechet_distance
from musicgen_train.evaluation.metrics.frechet_bootstrap import frechet_bootstrap
from musicgen_train.evaluation.metrics.intervals import basic_bootstrap
from tests.evaluation.metrics.synthetic_clips import Population

POPULATION = Population(8, windows=5, correlation=0.8, scale=1.3)


def clips(n: int = 200, seed: int = 0) -> ClipVectors:
    return POPULATION.clips(n, np.random.default_rng(seed))


def test_the_value_is_the_distance_and_the_interval_lies_below_its_bias():
    reference = POPULATION.reference()
    found = frechet_bootstrap(reference, clips(), draws=60)
    assert found.value == reference.distance(clips().statistics())
    assert found.low < found.debiased < found.value
    assert found.low < POPULATION.distance < found.high
    assert len(found.draws) == 60 and found.sd == pytest.approx(found.draws.std(ddof=1))


def test_a_seed_repeats_the_draws_and_another_does_not():
    one, again, other = (
        frechet_bootstrap(POPULATION.reference(), clips(), seed=seed, draws=5) for seed in (1, 1, 2)
    )
    assert np.array_equal(one.draws, again.draws) and not np.allclose(one.draws, other.draws)


def test_windows_that_repeat_do_not_narrow_the_interval():
    once = clips(200)
    many = ClipVectors(np.repeat(once.values, 4, axis=0), once.lengths * 4)
    wide, narrow = (frechet_bootstrap(POPULATION.reference(), x, draws=40).sd for x in (once, many))
    assert narrow == pytest.approx(wide, rel=0.02)


def test_a_reference_given_as_clips_is_drawn_as_well():
    reference = POPULATION.reference_clips(100, np.random.default_rng(9))
    fixed = frechet_bootstrap(FrechetReference(reference.statistics()), clips(), draws=60)
    both = frechet_bootstrap(reference, clips(), draws=60)
    assert both.value == fixed.value
    assert both.value == frechet_distance(reference.statistics(), clips().statistics())
    assert both.debiased < fixed.debiased  # the bias of two sets is greater than that of one
    assert both.warnings == (
        "200 clips are fewer than 1000: the distance is biased upward",
        "reference: 100 clips are fewer than 1000: the distance is biased upward",
    )


def test_two_systems_on_the_same_prompts_differ_by_less_than_each_varies():
    a = clips(300)
    b = ClipVectors(a.values * 1.02, a.lengths)  # answers the same prompts nearly alike
    one, other = (frechet_bootstrap(POPULATION.reference(), x, draws=60) for x in (a, b))
    low, high = basic_bootstrap(other.value - one.value, other.draws - one.draws)
    assert low > 0 and high - low < 0.5 * (one.high - one.low)


def test_one_clip_has_a_distance_and_no_interval():
    found = frechet_bootstrap(POPULATION.reference(), clips(1), draws=3)
    assert np.isfinite(found.value) and np.isnan(found[1:5]).all()
    assert found.warnings[-1] == "one clip has no interval"
