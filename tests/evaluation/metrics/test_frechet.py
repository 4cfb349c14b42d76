import functools

import numpy as np
import pytest
import torch

from musicgen_train.evaluation.metrics.frechet import (
    FrechetReference,
    GaussianStatistics,
    frechet_distance,
    frechet_warnings,
)


def cloud(n: int, dim: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    mixing = torch.randn(dim, dim, generator=generator, dtype=torch.float64)
    return torch.randn(n, dim, generator=generator, dtype=torch.float64) @ mixing


def distance(x: torch.Tensor, y: torch.Tensor) -> float:
    return frechet_distance(GaussianStatistics.of(x), GaussianStatistics.of(y))


@pytest.mark.parametrize("n", [10, 200])
def test_a_set_is_at_distance_zero_from_itself_also_with_fewer_vectors_than_dimensions(n):
    x = cloud(n, 32)
    assert abs(distance(x, x)) < 1e-6 * float(x.var(0).sum())


def test_a_shift_costs_its_squared_length():
    x, shift = cloud(200, 16), torch.arange(16).double()
    assert distance(x, x + shift) == pytest.approx(float(shift.square().sum()), rel=1e-9)


def test_a_scale_costs_the_variance_times_its_squared_excess():
    x = cloud(200, 16)
    x = x - x.mean(0)
    assert distance(x, 1.7 * x) == pytest.approx(float(x.var(0).sum()) * 0.7**2, rel=1e-9)


def test_axis_aligned_gaussians_follow_the_closed_form():
    x = torch.linalg.qr(cloud(400, 8)).Q
    x = x - x.mean(0)
    x = torch.linalg.qr(x).Q * 399**0.5  # covariance exactly the identity
    a, b = torch.linspace(0.5, 2, 8).double(), torch.linspace(3, 1, 8).double()
    expected = float((a - b).square().sum())
    assert distance(x * a, x * b) == pytest.approx(expected, rel=1e-9)


def test_the_distance_is_symmetric_and_does_not_change_under_rotation():
    x, y = cloud(100, 12, 1), cloud(80, 12, 2) + 1
    rotation = torch.linalg.qr(cloud(12, 12, 3)).Q
    assert distance(x, y) == pytest.approx(distance(y, x), rel=1e-9)
    assert distance(x, y) == pytest.approx(distance(x @ rotation, y @ rotation), rel=1e-9)


def test_few_vectors_agree_with_the_nuclear_norm():
    x, y = cloud(6, 20, 1), cloud(7, 20, 2) + 0.5
    cx, cy = (x - x.mean(0)) / 5**0.5, (y - y.mean(0)) / 6**0.5
    trace = cx.square().sum() + cy.square().sum() - 2 * torch.linalg.svdvals(cx @ cy.T).sum()
    expected = float((x.mean(0) - y.mean(0)).square().sum() + trace)
    assert distance(x, y) == pytest.approx(expected, rel=1e-6)


def test_statistics_do_not_depend_on_order_or_grouping():
    x = cloud(101, 16) * 3 + 100
    whole = GaussianStatistics.of(x)
    parts = [GaussianStatistics.of(part) for part in x[torch.randperm(101)].split(7)]
    merged = parts[0]
    for part in parts[1:]:
        merged = merged.merge(part)
    assert merged.n == whole.n
    assert torch.allclose(merged.mean, whole.mean, rtol=1e-12)
    assert torch.allclose(merged.covariance, whole.covariance, rtol=1e-9)
    assert torch.allclose(whole.covariance, torch.cov(x.T), rtol=1e-9)


def test_nan_embeddings_are_refused():
    with pytest.raises(ValueError, match="NaN"):
        GaussianStatistics.of(torch.full((3, 4), torch.nan))


@pytest.mark.parametrize("n", [10, 200])
def test_the_distance_is_that_of_a_matrix_square_root(n):
    from scipy.linalg import sqrtm

    a, b = (GaussianStatistics.of(cloud(n, 16, seed)) for seed in (1, 2))
    root = np.asarray(sqrtm((a.covariance @ b.covariance).numpy())).trace().real
    traces = a.covariance.trace() + b.covariance.trace()
    expected = float((a.mean - b.mean).square().sum() + traces - 2 * root)
    assert frechet_distance(a, b) == pytest.approx(expected, rel=1e-5)


def test_one_reference_serves_many_distances():
    reference = FrechetReference(GaussianStatistics.of(cloud(50, 12)))
    for seed in (1, 2):
        other = GaussianStatistics.of(cloud(40, 12, seed))
        assert reference.distance(other) == frechet_distance(reference.statistics, other)


def test_a_reference_of_few_vectors_is_factored_to_its_rank():
    reference = FrechetReference(GaussianStatistics.of(cloud(6, 20)))
    assert reference.factor.shape == (20, 5)
    again = reference.factor @ reference.factor.T
    assert torch.allclose(again, reference.statistics.covariance, atol=1e-10)


def test_a_constant_set_is_at_its_shift_and_the_others_variance():
    constant, other = torch.full((5, 8), 2.0).double(), cloud(50, 8)
    expected = float((other.mean(0) - 2).square().sum() + other.var(0).sum())
    assert distance(constant, other) == pytest.approx(expected, rel=1e-12)
    assert distance(other, constant) == pytest.approx(expected, rel=1e-12)
    assert distance(constant, constant) == 0


@pytest.mark.parametrize("parts", [2, 7, 64])
def test_any_sharding_gives_the_same_distance_to_a_part_in_a_million_millions(parts):
    x, y = cloud(640, 24, 1) + 10, cloud(500, 24, 2)
    shards = [GaussianStatistics.of(x[rank::parts]) for rank in range(parts)]
    merged = functools.reduce(GaussianStatistics.merge, shards)
    backwards = functools.reduce(GaussianStatistics.merge, shards[::-1])
    whole, reference = GaussianStatistics.of(x), FrechetReference(GaussianStatistics.of(y))
    assert torch.allclose(merged.scatter, whole.scatter, rtol=1e-12, atol=1e-9)
    expected = pytest.approx(reference.distance(whole), rel=1e-12)
    assert reference.distance(merged) == expected
    assert reference.distance(backwards) == expected


def test_float32_statistics_are_a_little_and_only_a_little_different():
    x, y = cloud(300, 24, 1), cloud(280, 24, 2) + 0.3
    a, b = GaussianStatistics.of(x), GaussianStatistics.of(y)
    exact, rounded = frechet_distance(a, b), frechet_distance(a, b, float32_statistics=True)
    assert rounded != exact
    assert rounded == pytest.approx(exact, rel=1e-5)
    mean = a.rounded_to_float32().mean
    assert torch.equal(mean, mean.float().double())


def test_small_sets_are_warned_of_in_words():
    assert frechet_warnings(5469, 103_911, 128) == ()
    few, singular = frechet_warnings(100, 100, 512)
    assert "biased upward" in few and "singular" in singular
