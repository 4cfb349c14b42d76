import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.formats import save_codec
from tests.conftest import TINY_CODEC
from tests.data.small_dataset import write_dataset
from tests.data_prep.killing import kill_at_random
from tests.data_prep.small_library import write_track

PREPARE = {
    "sample_rate": 8000, "segment_duration": 2.0, "min_duration": 0.5, "chroma_window": 4096,
    "chroma_hop": 1024, "shard_mb": 0.2, "duplicates": "none",
}  # fmt: skip


def library(folder, n_tracks):
    for number in range(n_tracks):
        write_track(folder, f"artist{number % 5}", f"song{number}", 20.0)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("num_workers", [2])
def test_prepare_that_is_killed_twenty_times_ends_as_if_it_had_not_been(tmp_path, num_workers):
    arguments = {**PREPARE, "num_workers": num_workers, "input_dir": library(tmp_path / "in", 40)}
    home = tmp_path / "home"
    home.mkdir()
    kill_at_random("data_prep.prepare", arguments, home, n_kills=20, seed=0)


@pytest.mark.slow
def test_tokenise_that_is_killed_twenty_times_ends_as_if_it_had_not_been(tmp_path):
    torch.manual_seed(0)
    codec = Encodec(**TINY_CODEC | {"sample_rate": 1000})
    codec.quantizer.initialise(codec.encoder(torch.randn(8, 1, 2000)).transpose(1, 2).flatten(0, 1))
    save_codec(codec, tmp_path / "codec")
    dataset = write_dataset(tmp_path / "in", 400, seconds=4.0, shard_bytes=50_000)
    arguments = {"dataset": dataset, "codec_path": tmp_path / "codec", "num_workers": 2}
    home = tmp_path / "home"
    home.mkdir()
    kill_at_random("data_prep.tokenize", arguments, home, n_kills=20, seed=1)
