"""Native checkpoints come back as they were, and broken ones say what is wrong."""

import json

import pytest
import torch

from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_lm, load_musicgen, save_codec, save_musicgen
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen


@pytest.fixture
def model(codec):
    torch.manual_seed(0)
    lm = LanguageModel(
        n_q=4, card=16, dim=16, num_heads=2, num_layers=1, text_dim=8, chroma_dim=12,
        chroma_length=8,
    )  # fmt: skip
    chroma = ChromaExtractor(sample_rate=2000, window=1024, hop=256)
    return MusicGen("tiny", codec, lm.eval(), WordTextEncoder(dim=8), chroma, max_duration=1.0)


def test_a_codec_comes_back_with_equal_codes_and_identity(codec, tmp_path):
    save_codec(codec, tmp_path)
    loaded = load_codec(tmp_path)
    wav = torch.randn(2, 1, 333)
    assert torch.equal(loaded.encode(wav), codec.encode(wav))
    assert loaded.identity() == codec.identity()
    assert sorted(p.name for p in tmp_path.iterdir()) == ["codec.safetensors", "config.json"]
    assert all(p.stat().st_mode & 0o044 == 0o044 for p in tmp_path.iterdir())


def test_a_loaded_codec_goes_on_training_and_its_file_stays(codec, tmp_path):
    save_codec(codec, tmp_path)
    loaded = load_codec(tmp_path).train()
    output = loaded(torch.randn(2, 1, 400))
    output.wav.square().sum().backward()
    assert all(parameter.grad is not None for parameter in loaded.parameters())
    assert not torch.equal(loaded.quantizer.codebooks[0].embed, codec.quantizer.codebooks[0].embed)
    assert load_codec(tmp_path).identity() == codec.identity()


def test_loading_draws_no_random_number(codec, tmp_path):
    save_codec(codec, tmp_path)
    before = torch.get_rng_state()
    load_codec(tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"codec": None}, "the codec's config is NoneType, no mapping"),
        ({"codec": {}}, "the codec option sample_rate is missing"),
        ({"n_filters": -4}, "n_filters is -4, but should be a whole number from 1"),
        ({"attention": True}, "unknown codec option 'attention': update musicgen_train"),
        ({"norm": "batch"}, "unknown norm 'batch'"),
        ({"norm": 3}, "norm is 3, but should be a text"),
    ],
)
def test_a_config_that_builds_no_codec_is_refused(codec, tmp_path, changes, said):
    save_codec(codec, tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config = {**config, "codec": {**config["codec"], **changes}}
    if "codec" in changes:
        config["codec"] = changes["codec"]
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=said):
        load_codec(tmp_path)


@pytest.mark.parametrize("file", ["config.json", "codec.safetensors"])
def test_a_file_in_place_of_its_folder_is_said(codec, tmp_path, file):
    save_codec(codec, tmp_path)
    with pytest.raises(UserError, match=f"{file} is one file of a checkpoint: give its folder"):
        load_codec(tmp_path / file)


def test_a_musicgen_comes_back_and_generates_the_same(model, tmp_path):
    save_musicgen(model, tmp_path)
    loaded = load_musicgen(tmp_path)
    wavs = []
    for each in (model, loaded):
        each.set_generation_params(duration=0.5)
        wavs.append(each.generate(["calm piano"], seeds=[3]))
    assert torch.equal(*wavs)
    assert loaded.chroma.config == model.chroma.config


def test_the_language_model_loads_without_the_rest(model, tmp_path):
    save_musicgen(model, tmp_path)
    codes = torch.randint(16, (1, 4, 6))
    ours, theirs = (lm.logits(codes)[0] for lm in (load_lm(tmp_path), model.lm))
    assert torch.equal(ours, theirs)


def test_a_wrong_path_names_itself_and_what_ships():
    with pytest.raises(UserError, match=r"no checkpoint at nowhere"):
        load_codec("nowhere")


def test_a_codec_folder_is_no_language_model(codec, tmp_path):
    save_codec(codec, tmp_path)
    with pytest.raises(UserError, match="holds a codec, not a language model"):
        load_lm(tmp_path)


@pytest.mark.parametrize("kept", [0, 100, -10])
def test_a_truncated_file_is_named(codec, tmp_path, kept):
    save_codec(codec, tmp_path)
    path = tmp_path / "codec.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"codec\.safetensors is truncated or corrupt"):
        load_codec(tmp_path)


def test_a_missing_weights_file_is_named(codec, tmp_path):
    save_codec(codec, tmp_path)
    (tmp_path / "codec.safetensors").unlink()
    with pytest.raises(UserError, match=r"codec\.safetensors is missing"):
        load_codec(tmp_path)


@pytest.mark.parametrize("text", ["[]", "{}", '{"format": "musicgen_train", "version": 99}'])
def test_a_foreign_config_is_refused(codec, tmp_path, text):
    save_codec(codec, tmp_path)
    (tmp_path / "config.json").write_text(text)
    with pytest.raises(UserError, match=r"config\.json is not a musicgen_train config"):
        load_codec(tmp_path)


def test_weights_of_another_shape_are_refused(codec, tmp_path):
    save_codec(codec, tmp_path)
    path = tmp_path / "config.json"
    config = json.loads(path.read_text())
    config["codec"]["card"] = 32
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=r"do not fit the config: size mismatch"):
        load_codec(tmp_path)


def test_another_codec_beside_the_language_model_is_refused(model, codec, tmp_path):
    save_musicgen(model, tmp_path / "model")
    codec.quantizer.codebooks[0].embed.add_(1)
    save_codec(codec, tmp_path / "other")
    (tmp_path / "other" / "codec.safetensors").replace(tmp_path / "model" / "codec.safetensors")
    with pytest.raises(UserError, match="trained on codes of codec"):
        load_musicgen(tmp_path / "model")
