from collections import Counter

import numpy as np
import pytest

from musicgen_train.data.order import epoch_order, finite_batches, step_positions, uniform


@pytest.mark.parametrize("n", [1, 2, 7, 1000])
def test_every_epoch_is_a_permutation(n):
    for epoch in range(3):
        assert sorted(epoch_order(n, 5, epoch)) == list(range(n))


def test_order_depends_on_seed_and_epoch_alone():
    assert np.array_equal(epoch_order(100, 1, 2), epoch_order(100, 1, 2))
    assert not np.array_equal(epoch_order(100, 1, 2), epoch_order(100, 1, 3))
    assert not np.array_equal(epoch_order(100, 1, 2), epoch_order(100, 2, 2))
    assert not np.array_equal(epoch_order(100, 1, 2), epoch_order(100, 2, 1))


def test_the_order_of_old_runs_never_changes():
    assert epoch_order(8, 1234, 0).tolist() == [2, 3, 5, 6, 4, 0, 1, 7]
    assert uniform(1234, 1, 7) == 0.284212673709614


def test_every_place_is_equally_likely_for_every_sample():
    places = np.stack([epoch_order(10, 0, epoch) for epoch in range(2000)])
    for place in range(10):
        counts = np.bincount(places[:, place], minlength=10)
        assert counts.min() > 140 and counts.max() < 262  # 200 +- 4.5 sigma


def test_crops_are_uniform_and_differ_between_epochs_and_samples():
    draws = np.array([[uniform(0, epoch, i) for i in range(60)] for epoch in range(60)])
    assert ((draws >= 0) & (draws < 1)).all()
    assert len(np.unique(draws)) == draws.size
    counts, _ = np.histogram(draws, bins=10, range=(0, 1))
    assert counts.min() > 290 and counts.max() < 430  # 360 +- 3.7 sigma


@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_ranks_share_out_every_position_once_and_in_step(world_size):
    seen = [
        position
        for step in range(5)
        for rank in range(world_size)
        for position in step_positions(11, step, 4, rank, world_size)
    ]
    assert seen == list(range(11, 11 + 20 * world_size))


@pytest.mark.parametrize("n", [0, 1, 5, 6, 7, 24, 25])
@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("batch_size", [1, 4])
def test_finite_batches_cover_everything_and_give_every_rank_equally_many(
    n, world_size, batch_size
):
    shares = [finite_batches(n, batch_size, rank, world_size) for rank in range(world_size)]
    assert len({len(share) for share in shares}) == 1
    assert all(0 < len(batch) <= batch_size for share in shares for batch in share)
    seen = Counter(int(i) for share in shares for batch in share for i in batch)
    assert sorted(seen) == list(range(n))
    assert len(set(seen.values())) <= 1  # equal weight, so means over ranks are means over samples
