import itertools
import logging
import os
import signal

import pytest
import torch
from torch.utils.data import get_worker_info

from musicgen_train.data.datamodule import MusicDataModule
from musicgen_train.data.left_out import Fault, LeftOut
from musicgen_train.errors import UserError
from tests.data.small_dataset import damage, write_dataset
from tests.data.test_datamodule import Recorder, fit

N = 30
BAD = {"s004", "s017"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = write_dataset(tmp_path_factory.mktemp("data") / "set", N, n_valid=5)
    for row in (4, 17, 32):
        damage(folder, row, "codes.npy", lambda data: bytes(len(data)))
    return folder


def data(path, **options):
    options = {"batch_size": 4, "segment_duration": 1.0, "max_bad": 0.5, **options}
    return MusicDataModule(path, **options)


@pytest.mark.parametrize("num_workers", [0, 2])
def test_bad_samples_are_left_out_and_every_other_comes_once(folder, num_workers, caplog):
    loader = data(folder, num_workers=num_workers).train_dataloader()
    with caplog.at_level(logging.WARNING):
        batches = list(itertools.islice(loader, 15))  # two epochs
    sizes = [len(batch.keys) for batch in batches]
    assert sum(sizes) == 2 * (N - len(BAD)) and set(sizes) <= {2, 3, 4}
    assert all(len(batch.codes) == len(batch.lengths) == len(batch.keys) for batch in batches)
    seen = [key for batch in batches for key in batch.keys]
    assert sorted(seen) == sorted(2 * [f"s{i:03d}" for i in range(N) if f"s{i:03d}" not in BAD])
    assert len(caplog.records) == 2  # each once, though it was met twice
    assert all("cannot be read (" in record.message for record in caplog.records)
    assert {record.message.split()[3] for record in caplog.records} == BAD


def test_validation_leaves_bad_samples_out(folder):
    keys = [key for batch in data(folder, batch_size=2).val_dataloader() for key in batch.keys]
    assert keys == ["s030", "s031", "s033", "s034"]


@pytest.mark.parametrize("num_workers", [0, 2])
def test_the_count_is_of_what_was_trained_on_and_goes_on_after_resuming(
    folder, tmp_path, num_workers
):
    path = tmp_path / "c.ckpt"
    straight = Recorder()
    fit(straight, data(folder, num_workers=num_workers), 16)
    trained = [[key for keys, _ in straight.trained[:n] for key in keys] for n in range(17)]
    missing = [4 * n - len(keys) for n, keys in enumerate(trained)]
    assert missing[15] == 4
    for step in (3, 7, 9):
        fit(Recorder(save_at=step, path=path), data(folder, num_workers=num_workers), step + 2)
        saved = torch.load(path, weights_only=True)["MusicDataModule"]
        assert saved["bad"] == missing[step]
        resumed = data(folder, num_workers=num_workers)
        module = Recorder()
        fit(module, resumed, 15, ckpt_path=path)
        assert module.trained == straight.trained[step:15]
        assert resumed.state_dict()["bad"] == missing[15]


def test_more_than_the_limit_stops_the_run_in_one_line(folder):
    loader = data(folder, max_bad=0.05).train_dataloader()
    with pytest.raises(UserError, match=r"\d of 1\d\d samples cannot be read, lately s0") as caught:
        list(itertools.islice(loader, 60))
    assert "\n" not in str(caught.value)
    list(itertools.islice(data(folder, max_bad=0.08).train_dataloader(), 60))  # 2 in 30 are fewer


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_batch_with_nothing_left_stops_the_run(folder, num_workers):
    loader = data(folder, batch_size=1, num_workers=num_workers).train_dataloader()
    with pytest.raises(UserError, match="nothing of a batch can be read, lately s0"):
        list(itertools.islice(loader, N))


@pytest.mark.parametrize("num_workers", [0, 2])
def test_a_missing_shard_stops_the_run_at_once(tmp_path, num_workers):
    folder = write_dataset(tmp_path / "set", 40)
    (folder / "shard-000001.tar").unlink()
    loader = data(folder, num_workers=num_workers).train_dataloader()
    with pytest.raises(UserError, match=r"shard-000001\.tar: No such file") as caught:
        list(itertools.islice(loader, 40))
    assert "\n" not in str(caught.value)


def test_a_killed_worker_is_reported_in_one_line(folder, monkeypatch):
    datamodule = data(folder, num_workers=2)
    read = datamodule.segments[0].read

    def killed_in_worker_1(row, where):
        if get_worker_info().id == 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return read(row, where)

    monkeypatch.setattr(datamodule.segments[0], "read", killed_in_worker_1)
    with pytest.raises(UserError, match="lower num_workers") as caught:
        list(itertools.islice(datamodule.train_dataloader(), 8))
    assert "\n" not in str(caught.value)


def test_few_samples_are_no_ground_to_judge_by():
    left_out, fault = LeftOut(0.01), [Fault("k", "shard", "why")]
    left_out.add(50, fault)
    left_out.add(49, [])
    with pytest.raises(UserError, match="2 of 119 samples"):
        left_out.add(20, fault)
    resumed = LeftOut(0.01, seen=1000, bad=9)
    resumed.add(10, fault)
    with pytest.raises(UserError, match="11 of 1020 samples"):
        resumed.add(10, fault)


def test_what_was_read_ahead_is_not_counted():
    left_out, fault = LeftOut(1.0, bad=5).begin(10), [Fault("k", "shard", "why")]
    for _ in range(4):
        left_out.add(8, fault)
    assert [left_out.own(batch) for batch in (10, 11, 14, 99)] == [0, 1, 4, 4]
    assert left_out.begin(12).own(99) == 2
    assert left_out.before == 5


def test_samples_of_one_key_in_two_datasets_are_both_reported(caplog):
    with caplog.at_level(logging.WARNING):
        left_out = LeftOut(1.0)
        for where in ("a", "b", "a"):
            left_out.add(8, [Fault("k", where, "why")])
    assert [record.args[1] for record in caplog.records] == ["a", "b"]
