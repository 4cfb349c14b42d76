import json
import os
from pathlib import Path

import huggingface_hub
import pytest

from musicgen_train.codec.encodec import Encodec
from musicgen_train.formats import save_audiocraft_codec, save_codec, save_musicgen
from musicgen_train.formats import save_transformers_codec as save_transformers
from musicgen_train.formats.checkpoint_kind import is_codec
from musicgen_train.musicgen import MusicGen
from tests.conftest import TINY_CODEC
from tests.evaluation.small_evaluation import small_parts

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.mark.parametrize("save", [save_codec, save_audiocraft_codec, save_transformers])
def test_a_folder_of_a_codec_alone_is_a_codec(tmp_path, save):
    save(Encodec(**{**TINY_CODEC, "lstm": 1}), tmp_path / "codec")
    assert is_codec(tmp_path / "codec")


def test_a_folder_with_a_language_model_is_none(tmp_path):
    parts = small_parts()
    model = MusicGen("small", parts.codec, parts.lm, parts.text_encoder, parts.chroma, 2.0)
    save_musicgen(model, tmp_path / "model")
    assert not is_codec(tmp_path / "model")
    assert not is_codec(GOLDEN / "audiocraft_text")


def test_one_file_is_told_by_its_name():
    folder = GOLDEN / "audiocraft_text"
    assert is_codec(folder / "compression_state_dict.bin")
    assert not is_codec(folder / "state_dict.bin")


@pytest.mark.parametrize("name", ["codec_tiny", "facebook/encodec_24khz"])
def test_a_codec_that_ships_or_is_on_the_hub_is_known_by_name(name):
    assert is_codec(name)


@pytest.mark.parametrize("name", ["small", "runs/absent/model"])
def test_other_names_are_taken_for_models(name):
    assert not is_codec(name)


def test_a_pipe_in_place_of_the_description_is_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "config.json")
    assert not is_codec(tmp_path)


@pytest.mark.parametrize(
    ("file", "content", "codec"),
    [
        ("config.json", {"model_type": "musicgen", "decoder": {}}, False),
        ("config.json", {"codec": {}, "lm": {}}, False),
        ("state_dict.bin", {}, False),
        ("config.json", {"model_type": "encodec"}, True),
        ("compression_state_dict.bin", {}, None),  # of a codec, or of a MusicGen: the name tells
    ],
)
@pytest.mark.parametrize("name", ["someone/encodec-musicgen", "someone/theirs"])
def test_what_the_hubs_cache_holds_counts_more_than_the_name(
    file, content, codec, name, tmp_path, monkeypatch
):
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path))
    root = tmp_path / f"models--{name.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    (root / "snapshots" / ("0" * 40)).mkdir(parents=True)
    (root / "snapshots" / ("0" * 40) / file).write_text(json.dumps(content))
    assert is_codec(name) == (("encodec" in name) if codec is None else codec)
