import itertools
from collections import Counter
from functools import partial

import numpy as np
import pytest

from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.data.mixture import PATTERN, SampleOrder, quotas
from musicgen_train.data.order import block_order, epoch_order
from musicgen_train.errors import UserError
from tests.data import small_dataset
from tests.data.small_dataset import write_dataset


def mixed(sizes, weights, seed=7):
    return SampleOrder(sizes, weights, seed, [partial(epoch_order, n) for n in sizes])


@pytest.mark.parametrize(
    ("weights", "expected"),
    [([1.0], [1000]), ([0.7, 0.3], [700, 300]), ([2, 1], [667, 333]), ([1, 1, 1], [334, 333, 333]),
     ([999, 1], [999, 1]), ([0.1, 0.2, 0.7], [100, 200, 700])],
)  # fmt: skip
def test_weights_hold_to_a_thousandth(weights, expected):
    assert quotas(weights).tolist() == expected


@pytest.mark.parametrize("weights", [[1, 0], [1, -1], [1, float("nan")], [1, float("inf")]])
def test_weights_that_are_no_weights_are_refused(weights):
    with pytest.raises(UserError, match="use numbers above 0"):
        quotas(weights)


def test_a_dataset_too_rare_to_be_drawn_is_refused():
    with pytest.raises(UserError, match="never drawn"):
        quotas([1, 1e-6])


def test_every_block_of_positions_holds_each_dataset_by_its_weight():
    order = mixed([7, 5, 900], [0.5, 0.2, 0.3])
    for block in range(3):
        drawn = [order.locate(block * PATTERN + i).dataset for i in range(PATTERN)]
        assert Counter(drawn) == {0: 500, 1: 200, 2: 300}
        assert max(len(list(run)) for _, run in itertools.groupby(drawn)) < 30  # shuffled


def test_each_dataset_runs_through_exact_epochs_of_its_own():
    sizes = [7, 5, 900]
    order, drawn = mixed(sizes, [0.5, 0.2, 0.3]), {0: [], 1: [], 2: []}
    for position in range(4 * PATTERN):
        draw = order.locate(position)
        drawn[draw.dataset].append((draw.epoch, draw.sample))
    for dataset, size in enumerate(sizes):
        draws = drawn[dataset]
        assert [epoch for epoch, _ in draws] == [i // size for i in range(len(draws))]
        for epoch in range(len(draws) // size):
            samples = [sample for _, sample in draws[epoch * size : (epoch + 1) * size]]
            assert sorted(samples) == list(range(size))


def test_any_position_is_found_without_those_before_it():
    straight = mixed([7, 5, 900], [0.5, 0.2, 0.3])
    draws = [straight.locate(position) for position in range(3 * PATTERN)]
    for position in np.random.default_rng(0).permutation(3 * PATTERN)[:200].tolist():
        assert mixed([7, 5, 900], [0.5, 0.2, 0.3]).locate(position) == draws[position]
    far = mixed([7, 5, 900], [0.5, 0.2, 0.3]).locate(10**12)
    assert far.epoch > 10**8


def test_a_lone_dataset_keeps_the_order_of_old_runs():
    order = mixed([8], [3.0], seed=1234)
    draws = [order.locate(position) for position in range(8)]
    assert [draw.sample for draw in draws] == [2, 3, 5, 6, 4, 0, 1, 7]


def test_the_order_of_old_mixtures_never_changes():
    order = mixed([8, 8], [1, 2], seed=1234)
    draws = [order.locate(position) for position in range(8)]
    assert [(draw.dataset, draw.sample) for draw in draws] == [
        (1, 0),
        (1, 2),
        (1, 5),
        (1, 3),
        (0, 2),
        (0, 3),
        (1, 1),
        (1, 4),
    ]


def test_blocks_of_shards_are_visited_one_after_the_other():
    shards = np.repeat([4, 0, 9, 2, 7, 3], [5, 1, 8, 3, 4, 6])
    for epoch in range(3):
        order = block_order(shards, 2, 5, epoch)
        assert sorted(order) == list(range(len(shards)))
        visited = shards[order]
        runs = [set(run) for run in np.split(visited, np.cumsum(_block_sizes(visited, 2)))[:-1]]
        assert [len(run) for run in runs] == [2, 2, 2]
        assert set.union(*runs) == set(shards.tolist())
    orders = {tuple(block_order(shards, 2, 5, epoch)) for epoch in range(6)}
    assert len(orders) == 6
    assert np.array_equal(block_order(shards, 2, 5, 0), block_order(shards, 2, 5, 0))


def _block_sizes(visited, block):
    """How many samples come before a shard that is not of the block at hand."""
    sizes, known = [0], set()
    for shard in visited.tolist():
        if shard not in known and len(known) == block:
            known = set()
            sizes.append(0)
        known.add(shard)
        sizes[-1] += 1
    return sizes


def test_one_block_of_all_shards_is_a_shuffle_of_everything():
    shards = np.repeat(np.arange(4), 25)
    order = block_order(shards, 4, 5, 0)
    assert set(shards[order[:25]]) == {0, 1, 2, 3}
    assert np.array_equal(order, epoch_order(100, 5, 0))


@pytest.fixture(scope="module")
def two(tmp_path_factory):
    root = tmp_path_factory.mktemp("mixture")
    return {
        str(write_dataset(root / "a", 5, n_valid=2, name="a")): 3.0,
        str(write_dataset(root / "b", 4, n_valid=1, name="b")): 1.0,
    }


def keys(datamodule, n):
    return [k for b in itertools.islice(datamodule.train_dataloader(), n) for k in b.keys]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_mixture_is_loaded_by_weight_and_resumes_anywhere(two, num_workers):
    options = {"segment_duration": 1.0, "num_workers": num_workers}
    straight = keys(MusicDataModule(two, batch_size=10, **options), 100)
    assert Counter(key[0] for key in straight) == {"a": 750, "b": 250}
    resumed = MusicDataModule(two, batch_size=4, **options)
    state = resumed.state_dict() | {"epoch": 3, "consumed": 8}  # of 9 samples in all
    resumed.load_state_dict(state)
    assert resumed.position() == 35
    assert keys(resumed, 20) == straight[35 : 35 + 80]


def test_other_weights_are_other_data(two):
    state = MusicDataModule(two).state_dict()
    for other in (dict.fromkeys(two, 1.0), dict(list(two.items())[:1])):
        with pytest.raises(UserError, match="is not the checkpoint's"):
            MusicDataModule(other).load_state_dict(state)


def test_equal_shares_are_the_same_data_and_a_refusal_names_all_datasets(two):
    state = MusicDataModule(two).state_dict()
    MusicDataModule({path: 2 * weight for path, weight in two.items()}).load_state_dict(state)
    backwards = MusicDataModule(dict(reversed(two.items())))
    with pytest.raises(UserError, match=r"data\.path \(\S+, \S+\): the mixture"):
        backwards.load_state_dict(state)


@pytest.mark.parametrize("weight", [1e308, 10**400, "much", None])
def test_a_weight_that_is_no_number_or_absurd_is_refused(two, weight):
    with pytest.raises(UserError, match="give a number"):
        MusicDataModule(dict.fromkeys(two, weight))


def test_a_dataset_is_mixed_with_others_only(two):
    path = next(iter(two))
    with pytest.raises(UserError, match="is the same dataset as"):
        MusicDataModule({path: 1.0, f"{path}/": 2.0})


@pytest.mark.parametrize("path", [None, ["a", "b"], 5])
def test_a_path_that_is_none_is_refused(path):
    with pytest.raises(UserError, match=r"data\.path is"):
        MusicDataModule(path)


@pytest.mark.parametrize(
    "wrong",
    [
        {"batch_size": 2.5}, {"num_workers": -1}, {"segment_duration": float("nan")},
        {"segment_duration": "x"}, {"segment_duration": 1e-9}, {"max_bad": float("nan")},
        {"max_bad": -1}, {"cache_gb": float("inf")},
    ],
    ids=str,
)  # fmt: skip
def test_numbers_that_no_loader_can_work_with_are_refused(two, wrong):
    (name,) = wrong
    with pytest.raises(UserError, match=f"{name} is "):
        MusicDataModule(two, **wrong)


def test_validation_on_a_mixture_sees_every_sample_of_each_dataset(two):
    batches = list(MusicDataModule(two, batch_size=2).val_dataloader())
    assert [key for batch in batches for key in batch.keys] == ["a005", "a006", "b004"]


def test_datasets_that_differ_are_not_mixed(tmp_path, monkeypatch):
    paths = [str(write_dataset(tmp_path / "a", 2))]
    monkeypatch.setitem(small_dataset.INFO, "n_q", 4)
    paths.append(str(write_dataset(tmp_path / "b", 2)))
    with pytest.raises(UserError, match=r"/b: n_q is 4, but that of \S+/a is 2"):
        MusicDataModule(dict.fromkeys(paths, 1.0))
    with pytest.raises(UserError, match="is empty"):
        MusicDataModule({})
    with pytest.raises(UserError, match=r"weight of s3 is '//b/x: 2'; give a number"):
        MusicDataModule({"s3": "//b/x: 2"})  # what Hydra makes of {s3://b/x: 2}
