import pytest
import torch

from musicgen_train.evaluation.metrics.frechet import GaussianStatistics, frechet_distance


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
