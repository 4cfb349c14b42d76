import math

import numpy as np
import pytest

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference
from musicgen_train.evaluation.metrics.frechet_bootstrap import frechet_bootstrap
from musicgen_train.evaluation.metrics.frechet_infinity import frechet_infinity
from tests.evaluation.metrics.synthetic_clips import Population

POPULATION = Population(16, windows=4, correlation=0.8)


def clips(n: int = 600, seed: int = 0) -> ClipVectors:
    return POPULATION.clips(n, np.random.default_rng(seed))


def test_the_line_meets_the_true_distance_where_the_plain_one_is_biased():
    plain = POPULATION.reference().distance(clips().statistics())
    found = frechet_infinity(POPULATION.reference(), clips())
    assert found.distances[0] == pytest.approx(plain, rel=1e-9)
    assert abs(found.value - POPULATION.distance) < 0.3 * (plain - POPULATION.distance)
    assert found.low < POPULATION.distance < found.high
    assert found.sizes == (600, 300, 200, 150) and found.r_squared > 0.98
    assert found.value + found.slope / 600 == pytest.approx(plain, rel=0.02)
    assert found.warnings == () and not found.both_sides


def test_only_the_references_clips_remove_the_bias_of_a_small_reference():
    errors = []
    for seed in range(30):
        reference = POPULATION.reference_clips(300, np.random.default_rng(seed))
        evaluated = clips(seed=100 + seed)
        fixed = frechet_infinity(FrechetReference(reference.statistics()), evaluated, sd=0.1)
        both = frechet_infinity(reference, evaluated, sd=0.1)
        assert both.distances[0] == pytest.approx(fixed.distances[0], rel=1e-9)
        assert both.both_sides and "1200 vectors remains" in fixed.warnings[0]
        errors.append((fixed.value - POPULATION.distance, both.value - POPULATION.distance))
    of_fixed, of_both = np.mean(errors, axis=0)
    assert of_fixed > 0.02 and abs(of_both) < 0.3 * of_fixed


def test_the_deviation_is_that_of_the_bootstrap_and_may_be_given():
    found = frechet_infinity(POPULATION.reference(), clips(200), seed=3)
    assert found.sd == frechet_bootstrap(POPULATION.reference(), clips(200), seed=3).sd
    given = frechet_infinity(POPULATION.reference(), clips(200), seed=3, sd=0.5)
    assert given.value == found.value
    assert given.high - given.value == pytest.approx(0.98)


def test_a_seed_repeats_the_value_and_another_deals_anew():
    values = [
        frechet_infinity(POPULATION.reference(), clips(200), seed=seed, sd=0.0).value
        for seed in (1, 1, 2)
    ]
    assert values[0] == values[1] != values[2]


@pytest.mark.parametrize(
    "dim, n, reason",
    [
        (16, 199, "199 clips are too few to extrapolate from: at least 200"),
        (512, 1000, "1000 clips of 512 dimensions are too few"),
    ],
)
def test_too_little_to_extrapolate_from_is_nan_with_a_reason(dim, n, reason):
    population = Population(dim)
    found = frechet_infinity(population.reference(), population.clips(n, np.random.default_rng(0)))
    assert math.isnan(found.value) and math.isnan(found.low) and found.sizes == ()
    assert reason in found.warnings[0]


def test_parts_of_fewer_clips_than_dimensions_are_not_extrapolated_from():
    population = Population(128, windows=4)
    evaluated = population.clips(240, np.random.default_rng(0))
    found = frechet_infinity(population.reference(), evaluated, sd=0.1)
    assert math.isnan(found.value) and "at least 387" in found.warnings[0]
