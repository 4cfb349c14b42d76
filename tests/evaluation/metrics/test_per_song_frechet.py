import numpy as np
import pytest
import torch

from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import (
    FrechetReference,
    GaussianStatistics,
    frechet_distance,
)
from musicgen_train.evaluation.metrics.per_song_frechet import (
    clip_frechet_distance,
    per_song_frechet,
)


def cloud(n: int, dim: int, seed: int) -> torch.Tensor:
    rng = np.random.default_rng(seed)
    return torch.as_tensor(rng.standard_normal((n, dim)) @ rng.standard_normal((dim, dim)))


@pytest.mark.parametrize("windows", [2, 19, 59])
@pytest.mark.parametrize("n_reference", [10, 300])
def test_the_low_rank_form_is_the_distance_between_the_two_gaussians(windows, n_reference):
    reference = GaussianStatistics.of(cloud(n_reference, 32, 0))
    clip = cloud(windows, 32, 1) + 0.5
    expected = frechet_distance(reference, GaussianStatistics.of(clip))
    found = clip_frechet_distance(FrechetReference(reference), clip)
    assert found == pytest.approx(expected, rel=1e-6)


def test_every_clip_is_told_apart_and_one_window_is_no_distribution():
    reference = FrechetReference(GaussianStatistics.of(cloud(100, 8, 0)))
    values = cloud(12, 8, 1)
    found = per_song_frechet(reference, ClipVectors(values, [5, 1, 6]))
    assert found[0] == clip_frechet_distance(reference, values[:5])
    assert np.isnan(found[1])
    assert found[2] == clip_frechet_distance(reference, values[6:])


def test_a_clip_that_is_the_reference_is_at_distance_zero():
    clip = cloud(30, 64, 0)
    reference = FrechetReference(GaussianStatistics.of(clip))
    assert abs(clip_frechet_distance(reference, clip)) < 1e-6 * float(clip.var(0).sum())


def test_nan_is_refused():
    reference = FrechetReference(GaussianStatistics.of(cloud(100, 8, 0)))
    with pytest.raises(ValueError, match="NaN"):
        clip_frechet_distance(reference, torch.full((3, 8), torch.nan))
