"""Broken and hostile models: one line that names the file, nothing run, nothing huge built."""

import json
import os
import pickle
import shutil
import time
import zipfile
from pathlib import Path

import pytest
import torch
import yaml

from musicgen_train.codec.encodec import Encodec
from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, load_lm, load_musicgen, save_codec, save_musicgen
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from tests.conditioning.small_t5 import save_t5
from tests.conftest import TINY_CODEC
from tests.formats.small_lms import our_model, their_model

GOLDEN = Path(__file__).parents[1] / "golden"


@pytest.fixture(scope="module")
def originals(tmp_path_factory):
    """A whole model in each layout."""
    root = tmp_path_factory.mktemp("models")
    save_musicgen(our_model("text", save_t5(root / "t5", 12)), root / "native")
    shutil.copytree(GOLDEN / "audiocraft_text", root / "audiocraft")
    their_model("text", root / "transformers")
    return root


@pytest.fixture
def folder(originals, tmp_path, request):
    """A copy of the model in the layout that the test asks for."""
    shutil.copytree(originals / request.param, tmp_path / request.param)
    return tmp_path / request.param


def refuse(path, *names, load=load_musicgen):
    """What is said, in one line with the names in it, and quickly."""
    start = time.perf_counter()
    with pytest.raises(UserError) as refused:
        load(path)
    message = str(refused.value)
    assert "\n" not in message and len(message) < 700
    assert all(name in message for name in names), message
    assert time.perf_counter() - start < 5
    return message


@pytest.mark.parametrize("load", [load_lm, load_musicgen])
def test_an_empty_folder_says_what_it_lacks(load, tmp_path):
    refuse(tmp_path, str(tmp_path), "no config.json and no state_dict.bin", load=load)


@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("native", "model.safetensors"),
        ("native", "codec.safetensors"),
        ("audiocraft", "compression_state_dict.bin"),
        ("transformers", "model.safetensors"),
    ],
    indirect=["folder"],
)
def test_a_missing_file_is_named(folder, file):
    (folder / file).unlink()
    refuse(folder, file, "missing")


@pytest.mark.parametrize("kept", [0, 100, -10])
@pytest.mark.parametrize(
    ("folder", "file"),
    [
        ("native", "model.safetensors"),
        ("native", "codec.safetensors"),
        ("native", "config.json"),
        ("audiocraft", "state_dict.bin"),
        ("audiocraft", "compression_state_dict.bin"),
        ("transformers", "model.safetensors"),
        ("transformers", "config.json"),
    ],
    indirect=["folder"],
)
def test_a_truncated_file_is_named(folder, file, kept):
    content = (folder / file).read_bytes()
    (folder / file).write_bytes(content[:kept])
    refuse(folder, file)


class Harmful:
    """Pickles as a shell command that leaves a file."""

    def __init__(self, marker):
        self.marker = marker

    def __reduce__(self):
        return os.system, (f"touch {self.marker}",)


def plant(content, path, how):
    """Write a pickle as torch does now, as it did once, or plainly."""
    if how == "plain":
        path.write_bytes(pickle.dumps(content))
    else:
        torch.save(content, path, _use_new_zipfile_serialization=how == "zip")


@pytest.mark.parametrize("how", ["zip", "old", "plain"])
@pytest.mark.parametrize(
    "file", ["state_dict.bin", "compression_state_dict.bin", "pytorch_model.bin", "last.ckpt"]
)
def test_a_pickle_with_code_is_refused_and_not_run(file, how, originals, tmp_path):
    marker = tmp_path / "run"
    Harmful(marker).__reduce__()[0](Harmful(tmp_path / "shown").__reduce__()[1][0])
    assert (tmp_path / "shown").exists()  # the command would have done it
    source = "transformers" if file == "pytorch_model.bin" else "audiocraft"
    folder = tmp_path / source
    shutil.copytree(originals / source, folder)
    (folder / "model.safetensors").unlink(missing_ok=True)
    for content in (Harmful(marker), {"best_state": {}, "state_dict": {"a": Harmful(marker)}}):
        plant(content, folder / file, how)
        path = folder / file if file == "last.ckpt" else folder
        for load in (load_musicgen, load_codec):
            if (file, load) != ("state_dict.bin", load_codec):  # which does not read it
                refuse(path, file, load=load)
    assert not marker.exists()


@pytest.mark.parametrize("name", ["dim", "num_layers", "num_heads", "card", "n_q", "ffn_mult"])
@pytest.mark.parametrize("value", [10**9, 0, "8", True])
def test_absurd_sizes_of_a_native_model_are_refused_at_once(name, value, originals, tmp_path):
    shutil.copytree(originals / "native", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["lm"][name] = value
    path.write_text(json.dumps(config))
    refuse(tmp_path / "model", "config.json", name)


@pytest.mark.parametrize("name", ["hidden_size", "num_hidden_layers", "num_codebooks", "ffn_dim"])
@pytest.mark.parametrize("value", [10**9, "8"])
def test_absurd_sizes_of_a_transformers_model_are_refused_at_once(name, value, originals, tmp_path):
    shutil.copytree(originals / "transformers", tmp_path / "model")
    path = tmp_path / "model" / "config.json"
    config = json.loads(path.read_text())
    config["decoder"][name] = value
    path.write_text(json.dumps(config))
    refuse(tmp_path / "model", "config.json")


@pytest.mark.parametrize("name", ["dim", "num_layers", "n_q", "card", "hidden_scale"])
@pytest.mark.parametrize("value", [10**9, "8"])
def test_absurd_sizes_of_an_audiocraft_model_are_refused_at_once(name, value, originals, tmp_path):
    shutil.copytree(originals / "audiocraft", tmp_path / "model")
    path = tmp_path / "model" / "state_dict.bin"
    content = torch.load(path, weights_only=True)
    config = yaml.safe_load(content["xp.cfg"])
    config["transformer_lm"][name] = value
    torch.save(content | {"xp.cfg": yaml.safe_dump(config)}, path)
    refuse(tmp_path / "model", "state_dict.bin")


@pytest.mark.parametrize("options", [{"n_q": 2}, {"card": 32}], ids=str)
def test_a_codec_of_another_kind_is_refused_naming_both(options, codec, tmp_path):
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1)
    model, other = tmp_path / "model", tmp_path / "other"
    save_musicgen(MusicGen("tiny", codec, lm), model)
    save_codec(Encodec(**TINY_CODEC | options), other)
    shutil.copy(other / "codec.safetensors", model)
    configs = [json.loads((folder / "config.json").read_text()) for folder in (model, other)]
    (model / "config.json").write_text(json.dumps(configs[0] | configs[1]))
    n_q, card = (configs[1]["codec"][name] for name in ("n_q", "card"))
    refuse(model, str(model), f"{n_q} codebooks of {card}", "4 of 16")


def test_a_zip_of_something_else_is_no_checkpoint(tmp_path):
    with zipfile.ZipFile(tmp_path / "state_dict.bin", "w") as archive:
        archive.writestr("../../outside.txt", "x")
    refuse(tmp_path, "state_dict.bin")


def test_numbers_that_are_none_are_loaded_as_they_are(originals, tmp_path):
    model = load_musicgen(originals / "native")
    with torch.no_grad():
        model.lm.heads.weight[0, 0] = float("nan")
    save_musicgen(model, tmp_path)
    assert load_lm(tmp_path).heads.weight[0, 0].isnan()


ODD = {
    "int8": lambda t: t.to(torch.int8),
    "complex": lambda t: t.to(torch.complex64),
    "float8": lambda t: t.to(torch.float8_e4m3fn),
    "sparse": lambda t: t.to_sparse(),
    "meta": lambda t: t.to("meta"),
}


@pytest.mark.parametrize("kind", ODD)
@pytest.mark.parametrize(
    ("file", "load", "pick"),
    [
        ("state_dict.bin", load_lm, lambda name: name == "out_norm.weight"),
        ("compression_state_dict.bin", load_codec, lambda name: name.endswith("weight_v")),
        ("compression_state_dict.bin", load_codec, lambda name: name.endswith("embed")),
    ],
)
def test_tensors_that_are_no_weights_are_refused_by_name(
    file, load, pick, kind, originals, tmp_path
):
    shutil.copytree(originals / "audiocraft", tmp_path / "model")
    content = torch.load(tmp_path / "model" / file, weights_only=True)
    name = next(name for name in content["best_state"] if pick(name))
    content["best_state"][name] = ODD[kind](content["best_state"][name])
    torch.save(content, tmp_path / "model" / file)
    assert kind in refuse(tmp_path / "model", file, "do not fit", load=load)


def test_counts_of_a_quantizer_may_be_whole_numbers(originals, tmp_path):
    shutil.copytree(originals / "audiocraft", tmp_path / "model")
    path = tmp_path / "model" / "compression_state_dict.bin"
    content = torch.load(path, weights_only=True)
    for name, tensor in content["best_state"].items():
        if name.endswith("inited"):
            content["best_state"][name] = tensor.bool()
    torch.save(content, path)
    assert load_codec(path).identity() == load_codec(originals / "audiocraft").identity()


@pytest.mark.parametrize("load", [load_lm, load_musicgen, load_codec])
@pytest.mark.parametrize("name", ["x" * 300, "a\0b"])
def test_a_name_that_no_file_can_have_is_refused(name, load):
    refuse(name, "no checkpoint at", load=load)
