import json
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch import nn

from data_prep.prepare import prepare
from data_prep.tokenize import tokenize
from musicgen_train.data.audio import decode_flac
from musicgen_train.data.index import load_index
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError
from tests.data.small_dataset import write_dataset
from tests.data_prep.small_library import files_of, read_npy

HOP = 500


class LevelCodec(nn.Module):
    """Codes each frame of `HOP` samples by its mean absolute level, K times coarser."""

    sample_rate, channels, n_q, card, frame_rate = 8000, 1, 2, 256, 8000 / HOP

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.tensor(255.0))

    def encode(self, wav):
        assert wav.dim() == 3
        padded = nn.functional.pad(wav, (0, -wav.shape[-1] % HOP))
        level = padded.abs().reshape(len(wav), 1, -1, HOP).mean(-1).clamp(max=1)
        return torch.cat([level * self.scale, level * self.scale / 16], 1).long()

    def identity(self):
        return "0123456789abcdef"


@pytest.fixture
def dataset(library, tmp_path):
    prepare(library, tmp_path / "audio", sample_rate=8000, segment_duration=2.0, min_duration=0.5,
            chroma_window=4096, chroma_hop=1024, num_workers=0, duplicates="none")  # fmt: skip
    return tmp_path / "audio"


@pytest.mark.parametrize("batch_size", [1, 3])
def test_codes_are_the_codecs_own_for_every_segment(dataset, tmp_path, batch_size):
    codec = LevelCodec()
    tokenize(dataset, tmp_path / "codes", codec, batch_size=batch_size)
    source, index = load_index(dataset), load_index(tmp_path / "codes")
    audio, tokens = ShardReader(source), ShardReader(index)
    assert len(index) == len(source) == 24
    for row in range(len(index)):
        codes = read_npy(tokens.read(row, "codes.npy"))
        wav = decode_flac(audio.read(row, "flac"))
        assert codes.dtype == np.uint16
        assert torch.equal(torch.from_numpy(codes.astype(int)), codec.encode(wav[None])[0])
        assert index.key(row) == source.key(row)
        assert index.split[row] == source.split[row]
        for member in ("json", "chroma.npy"):
            assert tokens.read(row, member) == audio.read(row, member)


def test_dataset_json_names_the_codec_and_how_its_codes_are_spread(dataset, tmp_path):
    info = tokenize(dataset, tmp_path / "codes", LevelCodec())
    assert (info["codec_identity"], info["n_q"], info["card"]) == ("0123456789abcdef", 2, 256)
    assert info["frame_rate"] == 16.0
    assert info == json.loads((tmp_path / "codes" / "dataset.json").read_text())
    index = load_index(tmp_path / "codes")
    reader = ShardReader(index)
    train = np.concatenate(
        [read_npy(reader.read(row, "codes.npy")) for row in index.rows("train")], axis=1
    )
    for k in range(2):
        _, counts = np.unique(train[k], return_counts=True)
        shares = counts / counts.sum()
        expected = -(shares * np.log(shares)).sum()
        assert info["unigram_entropy"][k] == pytest.approx(expected, abs=1e-5)
        assert info["codebook_usage"][k] == pytest.approx(len(counts) / 256, abs=1e-5)
    assert "flac" not in index.members
    assert info["fingerprint"] != load_index(dataset).fingerprint


def test_the_same_codec_gives_the_same_bytes(dataset, tmp_path):
    tokenize(dataset, tmp_path / "one", LevelCodec())
    tokenize(dataset, tmp_path / "two", LevelCodec())
    assert files_of(tmp_path / "one") == files_of(tmp_path / "two")


def test_kept_audio_is_the_datasets_audio(dataset, tmp_path):
    tokenize(dataset, tmp_path / "codes", LevelCodec(), keep_audio=True)
    audio = ShardReader(load_index(dataset))
    both = ShardReader(load_index(tmp_path / "codes"))
    assert all(both.read(row, "flac") == audio.read(row, "flac") for row in range(24))


def test_a_damaged_segment_is_recorded_and_the_others_are_kept(dataset, tmp_path):
    damage(dataset, rows=[5])
    info = tokenize(dataset, tmp_path / "codes", LevelCodec())
    assert (info["samples"], info["unreadable_segments"]) == (23, 1)
    lines = (tmp_path / "codes" / "failures.jsonl").read_text().splitlines()
    assert [json.loads(line)["sample"] for line in lines] == [load_index(dataset).key(5)]


def test_too_many_damaged_segments_stop_the_run(tmp_path):
    source = write_dataset(tmp_path / "set", 120, seconds=2.0)
    codec = LevelCodec()
    codec.sample_rate = 1000  # type: ignore[misc]
    damage(source, rows=range(0, 120, 20))
    with pytest.raises(UserError, match=r"segments cannot be read, such as s000 .*max_bad=0.01"):
        tokenize(source, tmp_path / "codes", codec)
    assert tokenize(source, tmp_path / "codes", codec, max_bad=0.1)["unreadable_segments"] == 6


def test_when_nothing_can_be_read_one_error_says_so_and_nothing_is_left(dataset, tmp_path):
    damage(dataset, rows=range(24))
    with pytest.raises(UserError, match="none of 24 segments"):
        tokenize(dataset, tmp_path / "codes", LevelCodec())
    assert {path.name for path in tmp_path.iterdir()} == {"library", "audio"}


@pytest.mark.parametrize(("name", "value"), [("sample_rate", 16000), ("channels", 2)])
def test_a_codec_of_another_shape_is_refused_naming_both(dataset, tmp_path, name, value):
    codec = LevelCodec()
    setattr(codec, name, value)
    with pytest.raises(UserError, match=rf"{name} is \d+, but the codec's is {value}"):
        tokenize(dataset, tmp_path / "codes", codec)
    assert not (tmp_path / "codes").exists()


def test_codes_cannot_be_made_from_codes(dataset, tmp_path):
    tokenize(dataset, tmp_path / "codes", LevelCodec())
    with pytest.raises(UserError, match="holds no audio"):
        tokenize(tmp_path / "codes", tmp_path / "again", LevelCodec())


def test_the_command_names_what_is_missing(tmp_path):
    done = subprocess.run(
        [sys.executable, "-m", "data_prep.tokenize", f"dataset={tmp_path}"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr.strip()) == (
        2, "error: output_dir is missing; give output_dir=…",
    )  # fmt: skip


def damage(dataset, rows):
    """Overwrite the audio of some samples in their shard."""
    index = load_index(dataset)
    column = index.members.index("flac")
    for row in rows:
        with index.shard_path(row).open("r+b") as file:
            file.seek(int(index.offset[row, column]))
            file.write(bytes(int(index.size[row, column])))
