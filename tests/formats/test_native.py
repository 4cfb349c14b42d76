"""Native checkpoints come back as they were, and broken ones say what is wrong."""

import json

import pytest
import torch
from safetensors.torch import load_file

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_codec,
    load_lm,
    load_musicgen,
    native,
    save_codec,
    save_musicgen,
    save_transformers_musicgen,
)
from musicgen_train.formats.lm_layouts import audiocraft_pieces, to_layout
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from tests.conditioning.small_t5 import save_t5
from tests.formats.editing import put
from tests.formats.small_lms import our_model


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


def edit(folder, **changes):
    """Change keys of config.json, `lm__dim` deep inside; a value `...` drops one."""
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        put(config, key.split("__"), value)
    path.write_text(json.dumps(config))


def test_a_folder_from_before_this_version_loads(model, tmp_path):
    save_musicgen(model, tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    # As version 1 was first written: none of the options that came later.
    old_lm = ("n_q", "card", "dim", "num_heads", "num_layers", "delays", "text_dim", "chroma_dim",
              "fuse_text", "fuse_chroma", "chroma_length", "ffn_mult", "dropout")  # fmt: skip
    old = ("format", "version", "name", "codec", "codec_identity", "text_encoder", "chroma",
           "max_duration")  # fmt: skip
    content = {name: config[name] for name in old} | {
        "lm": {name: config["lm"][name] for name in old_lm}
    }
    assert content["version"] == 1
    (tmp_path / "config.json").write_text(json.dumps(content))
    loaded = load_musicgen(tmp_path)
    ours, theirs = model.lm.state_dict(), loaded.lm.state_dict()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)


def test_a_model_without_conditions_comes_back(codec, tmp_path):
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1)
    save_musicgen(MusicGen("plain", codec, lm), tmp_path)
    loaded = load_musicgen(tmp_path)
    assert loaded.text_encoder is None and loaded.chroma is None


def test_a_stereo_model_comes_back(codec, tmp_path):
    lm = LanguageModel(
        n_q=8, card=16, dim=16, num_heads=2, num_layers=1, delays=[0, 0, 1, 1, 2, 2, 3, 3]
    )
    model = MusicGen("wide", StereoCodec(codec), lm)
    save_musicgen(model, tmp_path)
    loaded = load_musicgen(tmp_path)
    assert json.loads((tmp_path / "config.json").read_text())["stereo"] is True
    assert isinstance(loaded.codec, StereoCodec) and loaded.audio_channels == 2
    assert loaded.codec.identity() == model.codec.identity() != codec.identity()
    codes = torch.randint(16, (1, 8, 5))
    assert torch.equal(loaded.codec.decode(codes), model.codec.decode(codes))
    assert isinstance(load_codec(tmp_path), StereoCodec)


def test_a_stereo_codec_comes_back_alone(codec, tmp_path):
    save_codec(StereoCodec(codec), tmp_path)
    loaded = load_codec(tmp_path)
    assert isinstance(loaded, StereoCodec)
    assert loaded.identity() == StereoCodec(codec).identity()


@pytest.mark.parametrize("dtype", ["float16", "bfloat16"])
def test_half_precision_halves_the_file_and_loads_as_float32(dtype, model, tmp_path):
    save_musicgen(model, tmp_path / "whole")
    save_musicgen(model, tmp_path / "half", dtype=dtype)
    files = [load_file(tmp_path / f / "model.safetensors") for f in ("whole", "half")]
    sizes = [sum(tensor.nbytes for tensor in file.values()) for file in files]
    assert sizes[0] == 2 * sizes[1]
    loaded = load_musicgen(tmp_path / "half")
    for part in ("lm", "text_encoder"):
        ours, theirs = getattr(model, part).state_dict(), getattr(loaded, part).state_dict()
        for name, tensor in ours.items():
            assert theirs[name].dtype == torch.float32
            assert torch.equal(theirs[name], tensor.to(getattr(torch, dtype)).float()), name
    assert loaded.codec.identity() == model.codec.identity()


@pytest.mark.parametrize("weights", ["bfloat16", "int8", "cast"])
@pytest.mark.parametrize("layout", ["native", "audiocraft", "transformers"])
def test_rounded_weights_are_not_written_as_float32(weights, layout, tmp_path):
    model = our_model("text", save_t5(tmp_path / "t5", 12))
    if weights == "cast":
        model.lm.to(torch.float16)
    else:
        model.prepare(weights=weights)
    save = {
        "native": save_musicgen,
        "audiocraft": lambda model, _: to_layout(model.lm, audiocraft_pieces(model.lm)),
        "transformers": save_transformers_musicgen,
    }[layout]
    with pytest.raises(UserError, match=r"were rounded to .*: save the one it came from"):
        save(model, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_a_model_that_is_prepared_without_rounding_is_saved_exactly(model, tmp_path):
    before = {name: tensor.clone() for name, tensor in model.lm.state_dict().items()}
    model.prepare()
    save_musicgen(model, tmp_path)
    loaded = load_lm(tmp_path).state_dict()
    assert all(torch.equal(loaded[name], before[name]) for name in before)


@pytest.mark.parametrize("name", ["", "a" * 501])
def test_a_name_that_no_reader_takes_is_refused(name, model, tmp_path):
    model.name = name
    with pytest.raises(UserError, match=r"called .*: give it a text of 1 to 500 letters as name"):
        save_musicgen(model, tmp_path)
    assert not list(tmp_path.iterdir())


def test_a_weight_that_overflows_half_precision_is_said(model, tmp_path):
    with torch.no_grad():
        model.lm.heads.weight[0, 0] = 1e6
    with pytest.raises(UserError, match="too large for float16: use bfloat16"):
        save_musicgen(model, tmp_path, dtype="float16")
    assert not list(tmp_path.iterdir())


def test_an_interrupted_rewrite_is_no_checkpoint(model, tmp_path, monkeypatch):
    save_musicgen(model, tmp_path)

    def interrupted(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr(native, "write_tensors", interrupted)
    with pytest.raises(KeyboardInterrupt):
        save_musicgen(model, tmp_path)
    with pytest.raises(UserError, match=r"no checkpoint at .* no config\.json"):
        load_musicgen(tmp_path)


def test_the_licence_and_the_training_are_kept(model, tmp_path):
    save_musicgen(model, tmp_path, licence="MIT", training={"steps": 3})
    config = json.loads((tmp_path / "config.json").read_text())
    assert (config["licence"], config["training"]) == ("MIT", {"steps": 3})
    load_musicgen(tmp_path)


def test_a_t5_is_not_loaded_with_the_model(codec, tmp_path):
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1, text_dim=8)
    save_musicgen(MusicGen("text", codec, lm, T5TextEncoder("nowhere/at-all", dim=8)), tmp_path)
    loaded = load_musicgen(tmp_path)
    assert loaded.text_encoder.name_or_path == "nowhere/at-all"
    assert "text_encoder" not in str(load_file(tmp_path / "model.safetensors").keys())


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"name": ...}, "name is None, but should be a text"),
        ({"name": ["a"]}, r"name is \['a'\]"),
        ({"max_duration": 0}, "max_duration is 0, but should be a number of seconds above 0"),
        ({"max_duration": "30"}, "max_duration is '30'"),
        ({"stereo": "yes"}, "stereo is 'yes', but should be true or false"),
        ({"stereo": True}, "trained on codes of codec"),
        ({"codec_identity": ...}, "trained on codes of codec None"),
        ({"text_encoder": "t5"}, "the text encoder is 't5', but only the types words and t5"),
        ({"text_encoder__type": "os.system"}, "only the types words and t5 are known"),
        ({"text_encoder__type": ["t5"]}, "only the types words and t5 are known"),
        ({"text_encoder___target_": "os.system"}, "unknown option '_target_' of the text encoder"),
        ({"text_encoder__dim": -8}, "the text encoder has dim -8, but should have a whole number"),
        ({"text_encoder__dim": 16}, "weights do not fit: size mismatch"),
        ({"text_encoder__vocab_size": 10**12}, "vocab_size 1000000000000, but should have"),
        ({"text_encoder": None}, "describes no text encoder, but"),
        ({"text_encoder": {"type": "t5", "dim": 8, "name_or_path": 3}}, "name_or_path 3, but"),
        ({"chroma": 3}, "chroma is 3, but should be a mapping"),
        ({"chroma__sample_rate": ...}, "chroma lacks sample_rate"),
        ({"chroma__window": 10**9}, "chroma has window 1000000000, but should have"),
        ({"chroma__code": "x"}, "unknown option 'code' of chroma"),
        ({"lm": None}, "language model's config is NoneType"),
        ({"lm__dim": 10**9}, "dim is 1000000000, but should be"),
        ({"lm__num_layers": 10**9}, "num_layers is 1000000000, but should be"),
        ({"lm__num_layers": 2}, r"do not fit the config: .* is missing"),
        ({"lm__card": 32}, r"do not fit the config: the shape of "),
        ({"lm___target_": "os.system"}, "unknown language model option '_target_'"),
    ],
    ids=str,
)
def test_a_config_that_builds_no_model_is_refused_in_a_line(changes, said, model, tmp_path):
    save_musicgen(model, tmp_path)
    edit(tmp_path, **changes)
    with pytest.raises(UserError, match=said) as refused:
        load_musicgen(tmp_path)
    assert str(tmp_path) in str(refused.value) and "\n" not in str(refused.value)


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
