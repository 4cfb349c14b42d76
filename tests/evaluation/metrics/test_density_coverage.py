import numpy as np
import pytest

from musicgen_train.evaluation.metrics import pairwise
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.density_coverage import density_coverage


def vectors(values: np.ndarray) -> ClipVectors:
    return ClipVectors(values, np.ones(len(values), dtype=int))


def gaussian(n: int, seed: int, shift: float = 0.0) -> ClipVectors:
    return vectors(np.random.default_rng(seed).standard_normal((n, 8)) + shift)


def by_definition(x: np.ndarray, y: np.ndarray, k: int) -> tuple[float, float, float, float]:
    """Reference x against y with whole matrices."""

    def distances(a, b):
        return np.linalg.norm(a[:, None] - b, axis=-1)

    radii, own = (np.sort(distances(side, side), axis=1)[:, k] for side in (x, y))
    inside = distances(x, y) < radii[:, None]
    recall = (distances(x, y) < own).any(1).mean()
    return inside.sum() / k / len(y), inside.any(1).mean(), inside.any(0).mean(), recall


@pytest.mark.parametrize("block", [7, 2048])
def test_blocks_give_the_definition(block, monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK", block)
    x, y = gaussian(60, 0), gaussian(45, 1, 0.5)
    assert density_coverage(x, y, 3)[:4] == pytest.approx(by_definition(x.values, y.values, 3))


def test_one_distribution_has_density_one_and_nearly_full_coverage():
    found = density_coverage(gaussian(1500, 0), gaussian(1500, 1))
    assert found.density == pytest.approx(1, abs=0.06)
    assert found.coverage == pytest.approx(1 - 2**-5, abs=0.015)
    assert found.warnings == ()


def test_another_place_has_neither():
    assert density_coverage(gaussian(200, 0), gaussian(200, 1, 50.0))[:4] == (0, 0, 0, 0)


def test_a_model_that_repeats_one_clip_is_dense_and_covers_little():
    collapsed = vectors(0.01 * np.random.default_rng(1).standard_normal((500, 8)))
    found = density_coverage(gaussian(500, 0), collapsed)
    assert found.density > 2 and found.precision == 1 and found.coverage < 0.2
    assert found.recall == 0


def test_an_outlier_in_the_reference_swells_precision_more_than_density():
    x, y = gaussian(300, 0).values, gaussian(300, 1, 6.0)
    outlier = np.full((1, 8), 12.0)  # its ball reaches back to the others
    found = density_coverage(vectors(np.concatenate([x, outlier])), y)
    assert found.precision > 0.9 and found.density < 0.3


def test_unequal_sizes_are_warned_of_and_too_few_vectors_are_nan_with_a_reason():
    few, unequal = density_coverage(gaussian(40, 0), gaussian(60, 1)).warnings
    assert "40 vectors: fewer than 100" in few and "60 vectors against 40" in unequal
    few = density_coverage(gaussian(5, 0), gaussian(60, 1))
    assert np.isnan(few[:4]).all() and "5 vectors are too few for 5 neighbours" in few.warnings[0]
