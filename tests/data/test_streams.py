import itertools
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from musicgen_train.data.batches import AudioBatch, CodesBatch
from musicgen_train.data.index import load_index
from musicgen_train.data.segments import SegmentReader
from musicgen_train.data.shards import ShardReader
from musicgen_train.data.streams import TrainStream
from musicgen_train.errors import UserError
from tests.data.small_dataset import FRAME_RATE, HOP, RATE, ramp, write_dataset

N = 11


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_index(write_dataset(tmp_path_factory.mktemp("data") / "set", N))


def segments(index, kind="codes", duration=2.0):
    return SegmentReader(ShardReader(index), kind, duration)


def batches_of_rank(index, rank, world_size, n_workers, n_batches, batch_size, start=0):
    stream = TrainStream(segments(index), index.rows("train"), batch_size, seed=3)
    stream.place(start, rank, world_size)
    loader = DataLoader(stream, batch_size=None, num_workers=n_workers)
    return [batch.keys for batch in itertools.islice(loader, n_batches)]


def sequence(index, world_size, n_workers, n_samples, batch_size, start=0):
    """The samples that all ranks together train on, in order."""
    n_batches = -(-n_samples // (batch_size * world_size))
    ranks = [
        batches_of_rank(index, rank, world_size, n_workers, n_batches, batch_size, start)
        for rank in range(world_size)
    ]
    steps = itertools.chain.from_iterable(zip(*ranks, strict=True))
    return [key for batch in steps for key in batch][:n_samples]


@pytest.mark.parametrize("world_size", [1, 2, 3])
@pytest.mark.parametrize("n_workers", [0, 2])
def test_every_sample_comes_exactly_once_per_epoch(dataset, world_size, n_workers):
    seen = sequence(dataset, world_size, n_workers, 3 * N, batch_size=2)
    for epoch in range(3):
        counts = Counter(seen[epoch * N : (epoch + 1) * N])
        assert counts == {f"s{i:03d}": 1 for i in range(N)}
    assert seen[:N] != seen[N : 2 * N]
    assert seen == sequence(dataset, 1, 0, 3 * N, batch_size=2)


@pytest.mark.parametrize("world_size", [1, 3])
@pytest.mark.parametrize("start", [4, N, 2 * N + 5])
def test_starting_anywhere_continues_the_same_sequence_on_any_world(dataset, world_size, start):
    straight = sequence(dataset, 2, 0, 5 * N, batch_size=2)
    resumed = sequence(dataset, world_size, 0, 2 * N, batch_size=4, start=start)
    assert resumed == straight[start : start + 2 * N]


@pytest.mark.parametrize("n_workers", [0, 2])
def test_one_sample_feeds_more_ranks_and_workers_than_there_are_samples(tmp_path, n_workers):
    index = load_index(write_dataset(tmp_path / "one", 1))
    assert sequence(index, 3, n_workers, 12, batch_size=2) == ["s000"] * 12


def test_crops_are_stretches_of_their_sample_with_the_chroma_of_their_place(dataset):
    reader = segments(dataset, "audio", 0.5)
    codes = segments(dataset, "codes", 0.5)
    for where in (0.0, 0.37, 0.999999):
        sample = reader.read(4, where)
        start = int(where * 1501)
        assert torch.equal(sample.content, ramp(4, 2 * RATE)[:, start : start + 500])
        assert sample.chroma.shape == (1 + 500 // HOP, 12)
        assert sample.chroma[0, 0].item() * 100 == pytest.approx(round(start / HOP), abs=0.05)
        sample = codes.read(4, where)
        assert sample.content[0].tolist() == [4] * 25
        first = int(sample.content[1, 0])
        assert sample.content[1].tolist() == list(range(first, first + 25))
        assert sample.chroma[0, 0].item() * 100 == pytest.approx(
            round(first / FRAME_RATE * RATE / HOP), abs=0.05
        )


def test_crops_belong_to_the_sample_and_the_epoch_and_move_between_epochs(dataset):
    stream = TrainStream(segments(dataset, "codes", 0.5), dataset.rows("train"), 1, seed=3)
    first, again = (
        [(b.keys[0], int(b.codes[0, 1, 0])) for b in itertools.islice(stream, 2 * N)]
        for _ in range(2)
    )
    assert first == again
    assert dict(first[:N]) != dict(first[N:])


def test_a_short_sample_is_padded_and_its_length_told(tmp_path):
    index = load_index(write_dataset(tmp_path / "short", 2, seconds=1.5))
    for kind, length in (("codes", 100), ("audio", 2000)):
        reader = segments(index, kind, 2.0)
        batch = reader.batch([reader.read(0, 0.9), reader.read(1, 0.0)])
        assert isinstance(batch, CodesBatch if kind == "codes" else AudioBatch)
        assert batch[0].shape[-1] == length
        assert batch.lengths.tolist() == [length * 3 // 4] * 2
        assert batch[0][..., length * 3 // 4 :].abs().max() == 0
        assert batch.chroma.shape == (2, 1 + 2000 // HOP, 12)
        assert batch.chroma[:, 16:].abs().max() == 0
        assert batch.descriptions == ["sample 0", "sample 1"]
        assert batch.metadata[1] == {"description": "sample 1"}


def test_batches_have_the_promised_shapes_and_types(dataset):
    stream = TrainStream(segments(dataset), dataset.rows("train"), 3, seed=0)
    codes = next(iter(stream))
    assert (codes.codes.shape, codes.codes.dtype) == ((3, 2, 100), torch.int64)
    assert codes.lengths.tolist() == [100] * 3
    assert (codes.chroma.shape, codes.chroma.dtype) == ((3, 21, 12), torch.float32)
    audio = segments(dataset, "audio").batch([segments(dataset, "audio").read(0, 0.0)])
    assert (audio.wav.shape, audio.wav.dtype) == ((1, 1, 2000), torch.float32)


def test_a_damaged_sample_stops_the_run_with_its_name(tmp_path):
    folder = write_dataset(tmp_path / "set", 3)
    index = load_index(folder)
    column = index.members.index("codes.npy")
    with index.shard_path(1).open("r+b") as file:
        file.seek(int(index.offset[1, column]))
        file.write(bytes(20))
    with pytest.raises(UserError, match="sample s001 in"):
        segments(index).read(1, 0.0)


def test_a_missing_or_cut_shard_is_named(tmp_path):
    folder = write_dataset(tmp_path / "set", 3, shard_bytes=1)
    index = load_index(folder)
    (folder / "shard-000001.tar").unlink()
    with (folder / "shard-000002.tar").open("r+b") as file:
        file.truncate(1000)
    assert segments(index).read(0, 0.0).key == "s000"
    for row in (1, 2):
        with pytest.raises(UserError, match=f"shard-00000{row}.tar"):
            segments(index).read(row, 0.0)


def test_the_index_knows_split_and_place_of_every_sample(tmp_path):
    index = load_index(write_dataset(tmp_path / "set", 5, n_valid=2))
    assert index.rows("train").tolist() == [0, 1, 2, 3, 4]
    assert index.rows("valid").tolist() == [5, 6]
    assert len(np.unique(index.shard)) == len(index.info["shards"]) > 1
    assert index.info["splits"]["valid"] == {"samples": 2, "hours": round(4 / 3600, 6)}
    with pytest.raises(UserError, match="unknown split"):
        index.rows("dev")
