import numpy as np
import pytest
import torch

from musicgen_train.evaluation.metrics import pairwise
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.pairwise import pair_blocks, squared_distances


def vectors(n: int, seed: int) -> ClipVectors:
    values = np.random.default_rng(seed).standard_normal((n, 6)) + 1000
    return ClipVectors(values, [1] * n)


@pytest.mark.parametrize("block", [3, 100])
def test_blocks_cover_all_pairs_once_also_far_from_the_origin(block, monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK", block)
    a, b = vectors(10, 0), vectors(7, 1)
    found = torch.full((10, 7), torch.nan, dtype=torch.float64)
    for i, j, squared in pair_blocks(a, b):
        assert found[i, j].isnan().all()
        found[i, j] = squared
    expected = torch.as_tensor(a.values[:, None] - b.values).square().sum(-1)
    assert torch.allclose(found, expected, rtol=1e-9)


def test_one_set_against_itself_needs_half_the_blocks(monkeypatch):
    monkeypatch.setattr(pairwise, "BLOCK", 4)
    a = vectors(10, 0)
    halves = [(i.start, j.start) for i, j, _ in pair_blocks(a, a, once=True)]
    assert halves == [(0, 0), (0, 4), (0, 8), (4, 4), (4, 8), (8, 8)]


def test_a_vector_is_exactly_at_zero_from_its_copy():
    x = torch.as_tensor(vectors(50, 0).values)
    assert (squared_distances(x, x).diagonal() == 0).all()
