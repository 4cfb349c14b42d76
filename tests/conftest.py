"""What tests of training and of the commands share: a tiny codec and datasets that fit it."""

import os
from pathlib import Path

import pytest
import torch

from musicgen_train.codec.encodec import Encodec
from tests.fast_paths import FAST_PATHS

# Tensors are tiny here: more threads only wait for each other, in the commands that tests run too.
os.environ.setdefault("OMP_NUM_THREADS", "1")
torch.set_num_threads(1)

TINY_CODEC = {
    "sample_rate": 2000, "channels": 1, "n_q": 4, "card": 16, "ratios": [4, 5], "n_filters": 4,
    "dimension": 8, "lstm": 0,
}  # fmt: skip


def pytest_addoption(parser: pytest.Parser) -> None:
    """All tests on fast paths; tests/fast_paths.py says what each is."""
    told = "force it on every model; may be given several times"
    parser.addoption("--fast-path", choices=FAST_PATHS, action="append", default=[], help=told)


def pytest_configure(config: pytest.Config) -> None:
    """Before any fixture makes a model."""
    for name in config.option.fast_path:
        FAST_PATHS[name]()


def pytest_runtest_setup(item: pytest.Item) -> None:
    """Skip what needs a GPU where there is none; tests/gpu says how to try them without.

    And what counts work or memory of the plain path, or compares its bits, where another is forced.
    """
    forced = item.config.option.fast_path
    for mark in item.iter_markers("plain"):
        if set(mark.args) & set(forced):
            pytest.skip(f"is of what --fast-path {', '.join(mark.args)} does otherwise")
    on_cpu = os.environ.get("MUSICGEN_DEVICE") == "cpu" and "device" in item.fixturenames  # type: ignore[attr-defined]
    if item.get_closest_marker("gpu") and not torch.cuda.is_available() and not on_cpu:
        pytest.skip("needs a CUDA device")


@pytest.fixture
def codec() -> Encodec:
    """2 kHz, 100 frames/s, 4 x 16 codes, with codebooks that were started on noise."""
    torch.manual_seed(0)
    codec = Encodec(**TINY_CODEC)
    codec.quantizer.initialise(codec.encoder(torch.randn(8, 1, 2000)).transpose(1, 2).flatten(0, 1))
    return codec.eval()


@pytest.fixture(scope="session")
def datasets(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """One small library as audio segments and as codes, and the codec folder that made them."""
    from data_prep.prepare import prepare
    from data_prep.tokenize import tokenize
    from musicgen_train.formats import load_codec, save_codec
    from tests.data_prep.small_library import write_track

    root = tmp_path_factory.mktemp("datasets")
    for artist in ("ada", "bo", "cy", "dee"):
        for title in ("one", "two"):
            write_track(root / "library", artist, title, 5.0)
    settings = {"chroma_window": 1024, "chroma_hop": 256, "num_workers": 0, "duplicates": "none"}
    prepare(root / "library", root / "audio", sample_rate=2000, segment_duration=1.0,
            min_duration=0.5, **settings)  # fmt: skip
    torch.manual_seed(0)
    codec = Encodec(**TINY_CODEC)
    codec.quantizer.initialise(codec.encoder(torch.randn(8, 1, 2000)).transpose(1, 2).flatten(0, 1))
    save_codec(codec, root / "codec")
    tokenize(root / "audio", root / "codes", load_codec(root / "codec"))
    return {"audio": root / "audio", "codes": root / "codes", "codec": root / "codec"}
