"""A MusicGen loads from wherever it is, and what is no MusicGen is said to be none."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning import text
from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_codec,
    load_encodec,
    load_lm,
    load_musicgen,
    native,
    save_audiocraft_codec,
    save_codec,
    save_musicgen,
    save_transformers_codec,
)
from musicgen_train.formats.models import locate
from tests.conditioning.small_t5 import save_t5
from tests.formats.small_codecs import trained
from tests.formats.small_lms import KINDS, our_model, their_model

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return save_t5(tmp_path_factory.mktemp("t5"), 12)


@pytest.fixture(autouse=True)
def no_text_encoder(monkeypatch):
    """Loading a model must load no T5, whatever it is told."""

    def refuse(*_):
        raise AssertionError("a text encoder was loaded")

    monkeypatch.setattr(text, "load_t5", refuse)


@pytest.mark.parametrize("name", ["audiocraft_text", "audiocraft_melody"])
@pytest.mark.parametrize("file", ["", "state_dict.bin"])
def test_a_published_folder_or_its_file_is_a_model(name, file):
    lm = load_lm(GOLDEN / name / file)
    model = load_musicgen(GOLDEN / name / file)
    assert (model.codec.n_q, model.name) == (lm.n_q, name)
    assert (model.chroma is None) == (name == "audiocraft_text")
    for key, tensor in lm.state_dict().items():
        assert torch.equal(tensor, model.lm.state_dict()[key])


@pytest.mark.parametrize("kind", KINDS)
def test_a_folder_of_transformers_loads_with_its_codec(kind, tmp_path):
    their_model(kind, tmp_path)
    lm, model = load_lm(tmp_path), load_musicgen(tmp_path)
    melody, channels = KINDS[kind]
    assert (model.chroma is not None, model.audio_channels) == (melody, channels)
    assert model.text_encoder is not None
    for key, tensor in lm.state_dict().items():
        assert torch.equal(tensor, model.lm.state_dict()[key])


@pytest.mark.parametrize("kind", KINDS)
def test_a_native_folder_loads_with_its_codec(kind, t5, tmp_path):
    model = our_model(kind, t5)
    save_musicgen(model, tmp_path)
    loaded = load_musicgen(tmp_path)
    assert loaded.codec.identity() == model.codec.identity()
    assert isinstance(loaded.codec, StereoCodec) == (KINDS[kind][1] == 2)
    for key, tensor in model.lm.state_dict().items():
        assert torch.equal(tensor, loaded.lm.state_dict()[key])


def test_a_model_in_assets_is_known_by_its_name(t5, tmp_path, monkeypatch):
    monkeypatch.setattr("musicgen_train.formats.models.ASSETS", tmp_path)
    save_musicgen(our_model("text", t5), tmp_path / "ours")
    assert load_musicgen("ours").name == "text"


def test_safetensors_are_preferred_where_both_layouts_are(tmp_path):
    their_model("text", tmp_path)
    shutil.copy(GOLDEN / "audiocraft_text" / "state_dict.bin", tmp_path)
    assert locate(tmp_path).layout == "transformers"
    (tmp_path / "model.safetensors").unlink()
    assert locate(tmp_path).layout == "audiocraft"


def test_an_empty_folder_called_like_a_released_model_does_not_hide_it(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "small").mkdir()
    their_model("text", tmp_path / "facebook" / "musicgen-small")
    assert locate("small").path == Path("facebook/musicgen-small")


@pytest.mark.parametrize("load", [load_lm, load_musicgen])
@pytest.mark.parametrize("name", ["smal", "stereo_small", "melody-small", "runs/a/b", "./nowhere"])
def test_a_name_that_is_none_lists_those_that_are(name, load):
    with pytest.raises(UserError, match=f"no checkpoint at {name}: give a MusicGen fo") as refused:
        load(name)
    assert "small, medium, large, melody, melody-large, stereo-small" in str(refused.value)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("load", [load_lm, load_musicgen])
@pytest.mark.parametrize("save", [save_codec, save_audiocraft_codec, save_transformers_codec])
def test_a_codec_is_no_language_model(save, load, tmp_path):
    save(trained(lstm=1), tmp_path)
    with pytest.raises(UserError, match="holds a codec, not a language model"):
        load(tmp_path)


@pytest.mark.parametrize("name", ["codec_tiny", "encodec_32khz", "facebook/encodec_24khz"])
def test_the_name_of_a_codec_is_no_language_models(name):
    with pytest.raises(UserError, match="holds a codec, not a language model"):
        load_lm(name)


@pytest.mark.parametrize("name", ["audiocraft_text", "audiocraft_melody"])
def test_of_a_model_load_codec_takes_the_codec(name):
    assert load_codec(GOLDEN / name).identity() == load_musicgen(GOLDEN / name).codec.identity()


@pytest.mark.parametrize("file", ["model.safetensors", "config.json", "pytorch_model.bin"])
def test_a_file_in_place_of_its_folder_is_said(file, tmp_path):
    (tmp_path / file).touch()
    with pytest.raises(UserError, match=f"{file} is one file of a checkpoint: give its folder"):
        load_musicgen(tmp_path / file)


def test_other_things_are_said_to_be_no_checkpoint(tmp_path):
    (tmp_path / "song.wav").touch()
    with pytest.raises(UserError, match=r"song\.wav is no checkpoint"):
        load_musicgen(tmp_path / "song.wav")
    with pytest.raises(UserError, match=r"no checkpoint at .*gone\.ckpt: no such file"):
        load_musicgen(tmp_path / "gone.ckpt")
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "bert"}))
    with pytest.raises(UserError, match="describes model_type 'bert': only musicgen and"):
        load_musicgen(tmp_path)


def test_what_ships_is_listed():
    assert native.shipped() == ["codec_tiny", "tiny"]


def test_what_takes_one_codec_refuses_a_stereo_pair(codec, tmp_path):
    save_codec(StereoCodec(codec), tmp_path / "pair")
    with pytest.raises(UserError, match="pair is a stereo codec made of a mono one"):
        load_encodec(tmp_path / "pair")
    save_codec(codec, tmp_path / "mono")
    assert load_encodec(tmp_path / "mono").identity() == codec.identity()


@pytest.mark.parametrize("config", [{}, [], {"model_type": "bert"}, {"model_type": "encodec"}])
def test_beside_somebody_elses_description_audiocrafts_files_are_taken(config, tmp_path):
    shutil.copytree(GOLDEN / "audiocraft_text", tmp_path, dirs_exist_ok=True)
    (tmp_path / "config.json").write_text(json.dumps(config))
    assert load_lm(tmp_path).n_q == load_musicgen(tmp_path).codec.n_q == 4
    assert load_codec(tmp_path).identity() == load_codec(GOLDEN / "audiocraft_text").identity()


def sharded_pickle(folder):
    """The weights of a folder as transformers once wrote them."""
    state = load_file(folder / "model.safetensors")
    (folder / "model.safetensors").unlink()
    names = sorted(state)
    files = {name: f"pytorch_model-0000{1 + i % 2}-of-00002.bin" for i, name in enumerate(names)}
    for file in set(files.values()):
        torch.save({n: state[n] for n in names if files[n] == file}, folder / file)
    index = folder / "pytorch_model.bin.index.json"
    index.write_text(json.dumps({"weight_map": files}))
    return index


def test_a_sharded_pickle_is_read(tmp_path):
    their_model("text", tmp_path)
    lm, codec = load_lm(tmp_path).state_dict(), load_codec(tmp_path).identity()
    sharded_pickle(tmp_path)
    again = load_lm(tmp_path).state_dict()
    assert all(torch.equal(tensor, again[name]) for name, tensor in lm.items())
    assert load_codec(tmp_path).identity() == codec


def test_shards_are_files_of_the_folder_and_all_there(tmp_path):
    folder = tmp_path / "model"
    their_model("text", folder)
    index = sharded_pickle(folder)
    files = json.loads(index.read_text())["weight_map"]
    shutil.move(folder / "pytorch_model-00002-of-00002.bin", tmp_path)
    outside = {name: file.replace("pytorch_model-00002", "../pytorch_model-00002")
               for name, file in files.items()}  # fmt: skip
    for names in (files, outside):
        index.write_text(json.dumps({"weight_map": names}))
        with pytest.raises(UserError, match=r"pytorch_model-00002-of-00002\.bin is missing"):
            load_lm(folder)
    # Whoever lacks a shard may still have audiocraft's file.
    shutil.copy(GOLDEN / "audiocraft_text" / "state_dict.bin", folder)
    assert locate(folder).layout == "audiocraft"
    assert load_lm(folder).n_q == 4
