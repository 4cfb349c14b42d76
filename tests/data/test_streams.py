import io
import itertools
import json
from collections import Counter

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader

from musicgen_train.data.batches import AudioBatch, CodesBatch
from musicgen_train.data.index import load_index, save_index
from musicgen_train.data.segments import BadSample, SegmentReader, read_npy
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError
from tests.data.small_dataset import (
    FRAME_RATE,
    HOP,
    RATE,
    damage,
    npy,
    ramp,
    train_stream,
    write_dataset,
)

N = 11


@pytest.fixture(scope="module")
def dataset(tmp_path_factory):
    return load_index(write_dataset(tmp_path_factory.mktemp("data") / "set", N))


def segments(index, kind="codes", duration=2.0):
    return SegmentReader(ShardReader(index), kind, duration)


def batches_of_rank(index, rank, world_size, n_workers, n_batches, batch_size, start=0):
    stream = train_stream(segments(index), batch_size, seed=3)
    stream.place(start, rank, world_size)
    loader = DataLoader(stream, batch_size=None, num_workers=n_workers)
    return [loaded.batch.keys for loaded in itertools.islice(loader, n_batches)]


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
    stream = train_stream(segments(dataset, "codes", 0.5), 1, seed=3)
    first, again = (
        [(b.keys[0], int(b.codes[0, 1, 0])) for b, *_ in itertools.islice(stream, 2 * N)]
        for _ in range(2)
    )
    assert first == again
    assert dict(first[:N]) != dict(first[N:])


def test_a_short_sample_is_padded_and_its_length_told(tmp_path):
    index = load_index(write_dataset(tmp_path / "short", 2, seconds=1.5))
    for kind, length in (("codes", 100), ("audio", 2000)):
        reader = segments(index, kind, 2.0)
        batch = reader.batch([reader.read(0, 0.9), reader.read(1, 0.0)], 2)
        assert isinstance(batch, CodesBatch if kind == "codes" else AudioBatch)
        assert batch[0].shape[-1] == length
        assert batch.lengths.tolist() == [length * 3 // 4] * 2
        assert batch[0][..., length * 3 // 4 :].abs().max() == 0
        assert batch.chroma.shape == (2, 1 + 2000 // HOP, 12)
        assert batch.chroma[:, 16:].abs().max() == 0
        assert batch.descriptions == ["sample 0", "sample 1"]
        assert batch.metadata[1] == {"description": "sample 1"}


def test_batches_have_the_promised_shapes_and_types(dataset):
    codes = next(iter(train_stream(segments(dataset), 3, seed=0))).batch
    assert (codes.codes.shape, codes.codes.dtype) == ((3, 2, 100), torch.int64)
    assert codes.lengths.tolist() == [100] * 3
    assert (codes.chroma.shape, codes.chroma.dtype) == ((3, 21, 12), torch.float32)
    audio = segments(dataset, "audio").batch([segments(dataset, "audio").read(0, 0.0)], 1)
    assert (audio.wav.shape, audio.wav.dtype) == ((1, 1, 2000), torch.float32)


DAMAGES = {
    "zeros": lambda data: bytes(len(data)),
    "noise": lambda data: bytes(np.random.default_rng(0).integers(0, 256, len(data), np.uint8)),
    "cut": lambda data: data[: len(data) // 2],
    "nothing": lambda data: b"",
}


@pytest.mark.parametrize(
    ("member", "how"),
    [(member, how) for member in ("codes.npy", "chroma.npy", "json", "flac") for how in DAMAGES
     if how != "nothing" or member in ("codes.npy", "flac")],
)  # fmt: skip
def test_a_damaged_member_makes_a_bad_sample_that_is_named(tmp_path, member, how):
    folder = write_dataset(tmp_path / "set", 3)
    damage(folder, 1, member, DAMAGES[how])
    reader = segments(load_index(folder), "audio" if member == "flac" else "codes")
    with pytest.raises(
        BadSample, match=r"sample s001 in \S+shard-000000.tar cannot be read \(.+\)"
    ):
        reader.read(1, 0.0)
    assert reader.read(0, 0.0).key == "s000"
    assert reader.read(2, 0.0).key == "s002"


@pytest.mark.parametrize("member", ["chroma.npy", "json"])
def test_a_sample_that_lacks_chroma_or_metadata_is_kept(tmp_path, member):
    folder = write_dataset(tmp_path / "set", 3)
    damage(folder, 1, member, lambda data: b"")
    reader = segments(load_index(folder))
    batch = reader.batch([reader.read(row, 0.0) for row in (0, 1)], 2)
    assert batch.keys == ["s000", "s001"]
    assert torch.equal(batch.codes[1, 0], torch.ones(100, dtype=torch.int64))
    if member == "json":
        assert batch.metadata[1] == {} and batch.descriptions == ["sample 0", ""]
    else:
        assert batch.chroma[1].abs().max() == 0 < batch.chroma[0].max()


@pytest.mark.parametrize("value", [3, ["a", "b"], {"en": "calm"}, True, 0, "\ud800"])
def test_a_description_that_is_no_text_makes_a_bad_sample(tmp_path, value):
    folder = write_dataset(tmp_path / "set", 1)
    damage(folder, 0, "json", lambda data: json.dumps({"description": value}).encode())
    with pytest.raises(BadSample, match="sample s000"):
        segments(load_index(folder)).read(0, 0.0)


@pytest.mark.parametrize(
    "chroma",
    [np.ones((12, 21)), np.ones((21, 3)), np.ones(21), np.ones((1, 21, 12)),
     np.full((21, 12), np.nan), np.full((21, 12), np.inf)],
)  # fmt: skip
def test_chroma_that_no_model_could_take_makes_a_bad_sample(tmp_path, chroma):
    folder = write_dataset(tmp_path / "set", 1)
    damage(folder, 0, "chroma.npy", lambda data: npy(chroma.astype(np.float16)))
    with pytest.raises(BadSample, match="chroma"):
        segments(load_index(folder)).read(0, 0.0)


@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
@pytest.mark.parametrize("shape", ["(99999999999, 9)", "(-2, -3)", "(1<<70, 8)", "((", "(2, 2.5)"])
def test_a_header_that_claims_what_is_not_there_is_refused(version, shape):
    text = f"{{'descr': '<u2', 'fortran_order': False, 'shape': {shape}, }}\n".encode()
    length = len(text).to_bytes(2 if version == (1, 0) else 4, "little")
    with pytest.raises((ValueError, OverflowError)):
        read_npy(b"\x93NUMPY" + bytes(version) + length + text + bytes(200))


@pytest.mark.parametrize(
    "codes",
    [
        np.ones((2, 100, 1)),
        np.ones(100),
        np.full((2, 100), 1024),
        np.full((3, 100), 1),
        np.zeros((2, 0)),
        np.full((2, 100), 65535),
    ],
)
def test_codes_that_no_model_could_take_make_a_bad_sample(tmp_path, codes):
    folder = write_dataset(tmp_path / "set", 1, codes=codes.astype(np.uint16))
    with pytest.raises(BadSample, match="sample s000"):
        segments(load_index(folder)).read(0, 0.0)


@pytest.mark.parametrize(
    "array",
    [np.arange(6, dtype=np.uint16).reshape(2, 3), np.asfortranarray(np.eye(3)), np.array(4.0),
     np.zeros((0, 3), np.int8), np.arange(3, dtype=">i4")],
)  # fmt: skip
@pytest.mark.parametrize("version", [(1, 0), (2, 0)])
def test_arrays_are_read_as_numpy_reads_them(array, version):
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version)
    read = read_npy(file.getvalue())
    assert read.dtype == array.dtype
    assert np.array_equal(read, array)


def test_arrays_of_python_objects_are_never_unpickled():
    with pytest.raises(ValueError, match="object"):
        read_npy(npy(np.array([{}], dtype=object)))


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


def test_a_sample_takes_one_read_and_skips_what_nobody_asked_for(tmp_path, monkeypatch):
    index = load_index(write_dataset(tmp_path / "set", 2))
    reader, reads = ShardReader(index), []
    inner = reader._shards.read
    monkeypatch.setattr(reader._shards, "read", lambda *a: reads.append(a) or inner(*a))
    found = reader.read_members(1, ["json", "codes.npy", "chroma.npy"])
    assert len(reads) == 1
    assert found == [reader.read(1, name) for name in ("json", "codes.npy", "chroma.npy")]
    monkeypatch.setattr("musicgen_train.data.shards._GAP", 2000)  # headers, but no flac
    reads.clear()
    assert reader.read_members(1, ["json", "codes.npy", "chroma.npy"]) == found
    assert len(reads) == 2


def test_more_shards_than_files_may_be_open_are_read(tmp_path, monkeypatch):
    monkeypatch.setattr("musicgen_train.data.storage._OPEN_FILES", 2)
    index = load_index(write_dataset(tmp_path / "set", 6, shard_bytes=1))
    assert len(index.info["shards"]) == 6
    reader = segments(index)
    for _ in range(2):
        assert [reader.read(row, 0.0).key for row in range(6)] == [f"s00{i}" for i in range(6)]


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [("offset", -1, "negative"), ("size", 1 << 60, "outside its shard"), ("shard", 9, ""),
     ("split", 7, "outside"), ("duration", 3.0, "belongs to another")],
)  # fmt: skip
def test_an_index_that_leads_astray_is_refused(tmp_path, name, value, words):
    folder = write_dataset(tmp_path / "set", 2)
    with np.load(folder / "index.npz") as stored:
        arrays = dict(stored)
    arrays[name][0] = value
    np.savez(folder / "index.npz", **arrays)
    with pytest.raises(UserError, match=rf"index\.npz is damaged \(.*{words}"):
        load_index(folder)


@pytest.mark.parametrize("name", ["index.npz", "dataset.json"])
@pytest.mark.parametrize("content", [b"", b"garbage", b"[]", b"{}", b"PK\x03\x04 and no more"])
def test_damaged_tables_are_refused_in_one_line(tmp_path, name, content):
    folder = write_dataset(tmp_path / "set", 2)
    (folder / name).write_bytes(content)
    with pytest.raises(UserError) as caught:
        load_index(folder)
    assert str(folder) in str(caught.value) and "\n" not in str(caught.value)


INDEX_DAMAGES = {
    "float offsets": ("offset", lambda a: a.astype(np.float64)),
    "unsigned sizes": ("size", lambda a: a.astype(np.uint64)),
    "text keys": ("keys", lambda a: a.astype("U")),
    "keys that are no utf-8": ("keys", lambda a: np.array([b"\xff", b"b", b"c"])),
    "a line break in a key": ("keys", lambda a: np.array([b"a\nb", b"b", b"c"])),
    "a key twice": ("keys", lambda a: a[[0, 1, 1]]),
    "text members": ("members", lambda a: a.astype("U")),
    "a member twice": ("members", lambda a: a[[0, 1, 3, 3]]),
    "no json": ("members", lambda a: np.array([b"a", b"b", b"c", b"d"])),
    "a scalar": ("keys", lambda a: np.array(3)),
    "infinite durations": ("duration", lambda a: a * np.inf),
}


@pytest.mark.parametrize("name", INDEX_DAMAGES)
def test_an_index_of_other_kinds_is_refused_though_its_fingerprint_is_right(tmp_path, name):
    folder = write_dataset(tmp_path / "set", 3)
    with np.load(folder / "index.npz") as stored:
        arrays = dict(stored)
    array, change = INDEX_DAMAGES[name]
    arrays[array] = change(arrays[array])
    info = json.loads((folder / "dataset.json").read_text())
    fingerprint = save_index(folder, arrays, [shard["sha256"] for shard in info["shards"]])
    members = [str(m.decode() if isinstance(m, bytes) else m) for m in arrays["members"].tolist()]
    info |= {"fingerprint": fingerprint, "members": members}
    (folder / "dataset.json").write_text(json.dumps(info))
    with pytest.raises(UserError, match=r"index\.npz is damaged") as caught:
        load_index(folder)
    assert "\n" not in str(caught.value)


def test_a_folder_in_a_shards_place_is_named(tmp_path):
    folder = write_dataset(tmp_path / "set", 1)
    index = load_index(folder)
    (folder / "shard-000000.tar").unlink()
    (folder / "shard-000000.tar").mkdir()
    with pytest.raises(UserError, match=r"shard-000000\.tar: cannot be read \(Is a directory"):
        segments(index).read(0, 0.0)
