import numpy as np
import pytest
import torch

from musicgen_train.evaluation.metrics import clip_vectors
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.evaluation.metrics.frechet import GaussianStatistics

LENGTHS = [3, 1, 5, 2, 4]


def vectors(lengths=LENGTHS, dim=4, seed=0) -> ClipVectors:
    values = np.random.default_rng(seed).standard_normal((sum(lengths), dim)) + 20
    return ClipVectors(values.astype(np.float32), lengths)


def same(a: GaussianStatistics, b: GaussianStatistics) -> bool:
    close = torch.allclose(a.mean, b.mean, rtol=1e-12)
    return a.n == b.n and close and torch.allclose(a.scatter, b.scatter, rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("block", [1, 7, 2**20])
def test_drawn_sets_have_the_statistics_of_their_clips_repeated(block, monkeypatch):
    monkeypatch.setattr(clip_vectors, "BLOCK_BYTES", block * 32)
    clips, counts = vectors(), np.array([[1, 1, 1, 1, 1], [2, 0, 3, 0, 1], [0, 1, 0, 1, 0]])
    own = torch.as_tensor(clips.values).split(LENGTHS)
    for found, row in zip(clips.drawn_statistics(counts), counts, strict=True):
        repeated = [own[c] for c, count in enumerate(row) for _ in range(count)]
        assert same(found, GaussianStatistics.of(torch.cat(repeated)))
    assert same(clips.statistics(), GaussianStatistics.of(torch.as_tensor(clips.values)))


def test_several_passes_give_what_one_gives(monkeypatch):
    clips, counts = vectors(), np.random.default_rng(0).integers(0, 3, (7, 5)) + 1
    once = list(clips.drawn_statistics(counts))
    monkeypatch.setattr(clip_vectors, "PASS_BYTES", 2 * 8 * 16)
    for a, b in zip(once, clips.drawn_statistics(counts), strict=True):
        assert a.n == b.n and torch.equal(a.scatter, b.scatter)


@pytest.mark.parametrize("size", [1, 4, 100])
def test_blocks_hold_whole_clips_in_order(size):
    clips = vectors()
    blocks = list(clips.clip_blocks(size))
    assert torch.equal(torch.cat([rows for _, rows in blocks]), clips.rows(0, 15))
    assert [i for chosen, _ in blocks for i in range(5)[chosen]] == list(range(5))
    assert all(len(rows) == sum(LENGTHS[chosen]) for chosen, rows in blocks)


def test_an_array_on_disk_serves_as_well(tmp_path):
    clips = vectors()
    clips.values.tofile(tmp_path / "vectors.f32")
    mapped = np.memmap(tmp_path / "vectors.f32", np.float32, "r", shape=clips.values.shape)
    assert same(ClipVectors(mapped, LENGTHS).statistics(), clips.statistics())


def test_the_mean_of_a_clip_is_one_vector():
    clips = vectors()
    means = clips.clip_means()
    assert means.n_clips == means.n_vectors == 5
    assert np.allclose(means.values[2], clips.values[4:9].astype(float).mean(0))


def test_nan_is_refused_and_so_are_rows_without_a_clip():
    clips = vectors()
    clips.values[6] = np.nan
    with pytest.raises(ValueError, match="NaN"):
        clips.statistics()
    with pytest.raises(AssertionError, match="15 rows of 14"):
        ClipVectors(clips.values[:14], LENGTHS)
