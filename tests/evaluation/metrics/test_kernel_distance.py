import numpy as np
import pytest
import torch

from musicgen_train.errors import UserError
from musicgen_train.evaluation.metrics import pairwise
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.kernel_distance import (
    KernelReference,
    kernel_distance,
    median_distance,
)


def clips(n: int, windows: int = 1, seed: int = 0, scale: float = 1.0, alike: float = 0.0):
    rng = np.random.default_rng(seed)
    common, own = rng.standard_normal((n, 1, 6)), rng.standard_normal((n, windows, 6))
    values = scale * (alike**0.5 * common + (1 - alike) ** 0.5 * own)
    return ClipVectors(values.reshape(-1, 6), [windows] * n)


def kernel(x: np.ndarray, y: np.ndarray, bandwidth: float) -> np.ndarray:
    return np.exp(-np.square(x[:, None] - y).sum(-1) / (2 * bandwidth**2))


def plain_kad(x: np.ndarray, y: np.ndarray, bandwidth: float) -> float:
    """The definition, with whole matrices."""
    n, m = len(x), len(y)
    xx = (kernel(x, x, bandwidth).sum() - n) / (n * (n - 1))
    yy = (kernel(y, y, bandwidth).sum() - m) / (m * (m - 1))
    return 100 * (xx + yy - 2 * kernel(x, y, bandwidth).mean())


def between(x: ClipVectors, y: ClipVectors, bandwidth: float) -> float:
    """The same over pairs of different clips."""
    means = []
    for side in (x, y):
        owner = np.repeat(np.arange(side.n_clips), side.lengths)
        different = owner[:, None] != owner
        means.append(kernel(side.values, side.values, bandwidth)[different].mean())
    return 100 * (sum(means) - 2 * kernel(x.values, y.values, bandwidth).mean())


def without(x: ClipVectors, clip: int) -> ClipVectors:
    owner = np.repeat(np.arange(x.n_clips), x.lengths)
    return ClipVectors(x.values[owner != clip], np.delete(x.lengths, clip))


@pytest.mark.parametrize("block", [16, 2048])
def test_blocks_give_the_definition(block, monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK", block)
    y, x = clips(20, 3, seed=1), clips(17, 2, seed=2, scale=1.2)
    reference = KernelReference.of(y)
    found = kernel_distance(reference, x)
    assert found.value == pytest.approx(plain_kad(x.values, y.values, reference.bandwidth))
    assert found.between_clips == pytest.approx(between(x, y, reference.bandwidth))


def test_the_deviation_is_that_of_leaving_out_one_clip_at_a_time():
    y, x = clips(12, 3, seed=1), clips(9, 2, seed=2, scale=1.2)
    found = kernel_distance(KernelReference.of(y), x)
    variance = 0.0
    for left in (
        [between(without(x, c), y, found.bandwidth) for c in range(9)],
        [between(x, without(y, c), found.bandwidth) for c in range(12)],
    ):
        variance += (len(left) - 1) * np.var(left)
    assert found.sd == pytest.approx(variance**0.5)
    assert found.high - found.between_clips == pytest.approx(1.96 * found.sd)
    assert found.warnings == ("9 clips: the interval is rough",)


def test_the_bandwidth_is_the_references_median_distance_and_no_ones_else():
    y = clips(400, seed=1)
    exact = float(torch.nn.functional.pdist(torch.as_tensor(y.values)).median())
    reference = KernelReference.of(y)
    assert reference.bandwidth == exact
    assert kernel_distance(reference, clips(100, scale=5.0)).bandwidth == exact
    many = clips(20_000, seed=2)
    assert median_distance(many) == pytest.approx(median_distance(many, seed=1), rel=0.03)


def test_one_distribution_is_at_distance_zero_on_average_and_others_are_not():
    reference = KernelReference.of(clips(300, seed=1000))
    values = [kernel_distance(reference, clips(300, seed=seed)).between_clips for seed in range(20)]
    assert abs(np.mean(values)) < 0.15 and min(values) < 0
    assert kernel_distance(reference, clips(300, scale=1.5)).low > 0.5


def test_windows_of_one_clip_are_alike_and_would_add_to_the_distance():
    found = []
    for seed in range(20):
        reference = KernelReference.of(clips(100, 5, seed, alike=0.9))
        found.append(kernel_distance(reference, clips(100, 5, 100 + seed, alike=0.9)))
    assert np.mean([each.value for each in found]) > 0.5
    assert abs(np.mean([each.between_clips for each in found])) < 0.3


def test_a_reference_of_one_repeated_vector_is_refused():
    with pytest.raises(UserError, match="all sound alike"):
        KernelReference.of(ClipVectors(np.ones((9, 3)), [3, 3, 3]))


def test_two_clips_are_too_few_and_three_are_not():
    reference = KernelReference.of(clips(20))
    found = kernel_distance(reference, clips(2))
    assert np.isnan(found[:5]).all()
    assert found.warnings == ("2 clips are too few for a kernel distance: at least 3",)
    assert np.isfinite(kernel_distance(reference, clips(3))[:5]).all()
