"""What is said of estimators of distances, shown on sets whose true distance is known.

Each test prints its figures: pytest -m slow -s.
"""

import numpy as np
import pytest

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import FrechetReference, frechet_distance
from musicgen_train.evaluation.metrics.frechet_bootstrap import (
    CLIPS_PER_DIMENSION,
    frechet_bootstrap,
)
from musicgen_train.evaluation.metrics.frechet_infinity import frechet_infinity
from musicgen_train.evaluation.metrics.kernel_distance import KernelReference, kernel_distance
from tests.evaluation.metrics.synthetic_clips import Population

pytestmark = pytest.mark.slow


def single_windows(clips: ClipVectors) -> ClipVectors:
    """The same vectors, each as if it were a clip."""
    return ClipVectors(clips.values, [1] * clips.n_vectors)


def extrapolated(
    reference: FrechetReference, clips: ClipVectors, rng: np.random.Generator, *, replace: bool
) -> float:
    """The usual extrapolation: random subsets of 8 sizes, 3 of each, from a fifth to all."""
    n, counts, sizes = clips.n_clips, [], []
    for size in np.linspace(n / 5, n, 8).astype(int).repeat(3):
        drawn = rng.choice(n, size, replace=replace)
        counts.append(np.bincount(drawn, minlength=n))
        sizes.append(size)
    found = [reference.distance(part) for part in clips.drawn_statistics(np.array(counts))]
    return float(np.polyfit(1 / np.array(sizes), found, 1)[1])


def test_subsets_with_replacement_extrapolate_to_the_bias_and_those_without_remove_it():
    population = Population(128, variance=0.17, scale=1.05, shift=0.401)
    reference, found = population.reference(), []
    for seed in range(5):
        rng = np.random.default_rng(seed)
        clips = population.clips(3000, rng)
        found.append(
            (
                reference.distance(clips.statistics()),
                extrapolated(reference, clips, rng, replace=True),
                extrapolated(reference, clips, rng, replace=False),
                frechet_infinity(reference, clips, sd=0.0).value,
            )
        )
    true, (plain, with_replacement, without, ours) = population.distance, np.mean(found, axis=0)
    print(f"\ntrue {true:.3f}: plain {plain:.3f}, with replacement {with_replacement:.3f}, "
          f"without {without:.3f}, frechet_infinity {ours:.3f}")  # fmt: skip
    bias = plain - true
    assert bias > 0.05
    assert abs(with_replacement - plain) < 0.25 * bias
    assert abs(without - true) < 0.15 * bias
    assert abs(ours - true) < 0.15 * bias


@pytest.mark.parametrize("n_clips, close", [(150, False), (1000, True)])
def test_clips_not_windows_are_the_unit_and_a_thousand_are_enough(n_clips, close):
    population = Population(
        128, windows=19, correlation=0.8, decay=0.5, variance=0.067, scale=1.05, shift=0.44
    )
    reference, found = population.reference(), []
    for seed in range(4):
        rng = np.random.default_rng(seed)
        clips = population.clips(n_clips, rng)
        found.append(
            (
                reference.distance(clips.statistics()),
                extrapolated(reference, single_windows(clips), rng, replace=False),
                extrapolated(reference, clips, rng, replace=False),
            )
        )
    true, (plain, by_window, by_clip) = population.distance, np.mean(found, axis=0)
    print(f"\n{n_clips} clips, true {true:.3f}: plain {plain:.3f}, by window {by_window:.3f}, "
          f"by clip {by_clip:.3f}")  # fmt: skip
    assert abs(by_window - plain) < 0.25 * (plain - true)
    assert abs(by_clip - true) < 0.6 * (plain - true)
    assert (abs(by_clip - true) < 0.1 * true) == close


def test_intervals_and_corrections_of_sixty_sets():
    population = Population(32, windows=4, correlation=0.8, variance=0.2, scale=1.05, shift=0.355)
    reference, true = population.reference(), population.distance
    rows = []
    for seed in range(60):
        clips = population.clips(400, np.random.default_rng(seed))
        drawn = frechet_bootstrap(reference, clips, seed=seed)
        infinity = frechet_infinity(reference, clips, seed=seed, sd=drawn.sd)
        low, high = np.quantile(drawn.draws, (0.025, 0.975))
        rows.append(
            (
                drawn.value,
                drawn.debiased,
                infinity.value,
                low <= true <= high,
                drawn.low <= true <= drawn.high,
                infinity.low <= true <= infinity.high,
                drawn.sd,
            )
        )
    plain, debiased, infinity, percentile, basic, normal, sd = np.mean(rows, axis=0)
    spread = np.std([row[2] for row in rows], ddof=1)
    print(f"\ntrue {true:.3f}: plain {plain:.3f}, 2θ̂ - mean(θ*) {debiased:.3f}, infinity "
          f"{infinity:.3f}; of 60 intervals hold the truth: percentile {60 * percentile:.0f}, "
          f"basic {60 * basic:.0f}, infinity ± 1.96 sd {60 * normal:.0f}; sd {sd:.4f} against "
          f"{spread:.4f} seen")  # fmt: skip
    assert percentile <= 0.05
    assert basic >= 0.93 and normal >= 0.93
    assert abs(debiased - true) < 0.2 * (plain - true)
    assert abs(infinity - true) < 0.2 * (plain - true)
    assert spread < sd < 2 * spread  # the bootstrap errs on the wide side


def test_one_distribution_is_told_to_be_one():
    population = Population(32, windows=4, correlation=0.8, scale=1.0, shift=0.0)
    held = []
    for seed in range(40):
        rng = np.random.default_rng(seed)
        found = frechet_infinity(population.reference_clips(400, rng), population.clips(400, rng))
        held.append(found.low <= 0 <= found.high)
    print(f"\nof 40 intervals over two sets of one distribution {sum(held)} hold zero")
    assert np.mean(held) >= 0.93


def test_a_bandwidth_from_what_is_evaluated_hides_that_it_is_too_wide():
    rng = np.random.default_rng(0)
    reference, evaluated = (
        ClipVectors(scale * rng.standard_normal((2000, 16)), [1] * 2000) for scale in (1.0, 1.2)
    )
    ours = kernel_distance(KernelReference.of(reference), evaluated)
    width = KernelReference.of(evaluated).bandwidth
    theirs = kernel_distance(KernelReference.of(reference, bandwidth=width), evaluated)
    print(f"\nKAD of a spread of 1.2 with the bandwidth of the reference {ours.value:.3f}, "
          f"of what is evaluated {theirs.value:.3f}")  # fmt: skip
    assert theirs.value < 0.85 * ours.value


def test_sums_over_windows_divided_by_the_number_of_clips_are_far_off():
    rng = np.random.default_rng(0)
    clips = [ClipVectors(rng.standard_normal((20_000, 16)) + shift, [10] * 2000)
             for shift in (0.0, 0.06)]  # fmt: skip
    one, other = (side.statistics() for side in clips)
    true, found = 16 * 0.06**2, frechet_distance(one, other)
    by_clip = float((10 * one.mean - 10 * other.mean).square().sum())
    print(f"\ntrue {true:.3f}: over vectors {found:.3f}; means over clips alone {by_clip:.3f}")
    assert one.n == other.n == 20_000
    assert found == pytest.approx(true, abs=0.02)
    assert by_clip > 20 * found


def test_an_interval_takes_twelve_clips_a_dimension():
    """Both sides are drawn, as an evaluation has them: 32 dimensions, 19 alike windows a clip."""
    dim = 32
    population = Population(dim, windows=19, correlation=0.8, decay=0.5, variance=0.17, shift=0.401)
    held = {}
    for n_clips in (dim, 3 * dim, CLIPS_PER_DIMENSION * dim):
        hits = 0
        for seed in range(20):
            rng = np.random.default_rng(seed)
            reference = population.reference_clips(n_clips, rng)
            clips = population.clips(n_clips, rng)
            found = frechet_bootstrap(reference, clips, seed=seed, draws=100)
            hits += found.low <= population.distance <= found.high
        held[n_clips] = hits
    print(f"\nintervals that hold the truth, of 20, by clips: {held}")
    assert held[dim] <= 5 and held[dim] < held[CLIPS_PER_DIMENSION * dim]
    assert held[CLIPS_PER_DIMENSION * dim] >= 17
