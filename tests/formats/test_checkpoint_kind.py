from pathlib import Path

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
