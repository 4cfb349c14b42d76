"""A T5 is called in an export what it is: compared where that can be, and else it is said."""

import json

import huggingface_hub
import pytest
import torch
from transformers import T5EncoderModel

from musicgen_train import export
from musicgen_train.conditioning.text import T5TextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats import load_musicgen, save_musicgen, save_transformers_musicgen
from musicgen_train.formats.t5_identity import Identity, audiocraft_remark, native_identity
from tests.conditioning.small_t5 import save_t5
from tests.formats.small_lms import our_model


@pytest.fixture(autouse=True)
def cache(monkeypatch, tmp_path):
    """An empty cache of the hub."""
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    return tmp_path / "cache"


def cached_t5(cache):
    root = cache / "models--google-t5--t5-base"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    return save_t5(root / "snapshots" / ("0" * 40), 12)


def tune(folder):
    """Make it another T5 under the same name."""
    t5 = T5EncoderModel.from_pretrained(folder)
    with torch.no_grad():
        t5.shared.weight[3] += 0.01
    t5.save_pretrained(folder)


@pytest.fixture
def composite(tmp_path):
    """A folder of transformers whose T5 says that it is t5-base."""
    folder = save_transformers_musicgen(
        our_model("text", save_t5(tmp_path / "t5", 12)), tmp_path / "composite"
    )
    config = json.loads((folder / "config.json").read_text())
    config["text_encoder"]["_name_or_path"] = "t5-base"
    (folder / "config.json").write_text(json.dumps(config))
    return folder


@pytest.mark.parametrize("where", ["composite", "t5-base"])
def test_a_released_name_is_believed_only_as_far_as_it_was_compared(
    where, composite, cache, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    name = str(composite) if where == "composite" else save_t5(tmp_path / "t5-base", 12).name
    assert native_identity(name) == Identity(
        "t5-base",
        "the text encoder was taken to be t5-base, which is not in the hub's cache to compare",
    )
    folder = cached_t5(cache)
    assert native_identity(name) == Identity("t5-base")
    tune(folder)
    found = native_identity(name)
    assert found.name == name
    assert found.remark.endswith(f"its weights are not those of t5-base: it is needed at {name}")


def test_half_precision_is_no_difference(composite, cache):
    folder = cached_t5(cache)
    T5EncoderModel.from_pretrained(folder).half().save_pretrained(folder)
    assert native_identity(str(composite)) == Identity("t5-base")


def test_a_name_of_the_hub_is_what_it_is():
    assert native_identity("google/flan-t5-xl") == Identity("google/flan-t5-xl")
    assert audiocraft_remark(T5TextEncoder("google-t5/t5-base"), "t5-base") == ""


def test_audiocraft_is_not_told_a_t5_that_it_is_not(composite, cache):
    encoder = T5TextEncoder(str(composite), dim=12)
    assert "was taken to be t5-base" in audiocraft_remark(encoder, "t5-base")
    folder = cached_t5(cache)
    assert audiocraft_remark(encoder, "t5-base") == ""
    tune(folder)
    with pytest.raises(UserError, match=r"would load t5-base, but .* other weights"):
        audiocraft_remark(encoder, "t5-base")


def test_an_export_that_needs_a_local_t5_says_so(tmp_path, capsys):
    folder = save_transformers_musicgen(
        our_model("text", save_t5(tmp_path / "own_t5", 12)), tmp_path / "folder"
    )
    export.main([str(folder), str(tmp_path / "out"), "--format", "native"])
    encoder = load_musicgen(tmp_path / "out").text_encoder
    note = f"the text encoder is not in the export: it is needed at {folder}"
    assert encoder is not None and encoder.name_or_path == str(folder)
    assert note in capsys.readouterr().out
    assert note in (tmp_path / "out" / "README.md").read_text()


def test_a_saved_model_names_its_t5_only_if_it_is_that_one(composite, cache, tmp_path):
    tune(cached_t5(cache))
    save_musicgen(load_musicgen(composite), tmp_path / "saved")
    config = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert config["text_encoder"]["name_or_path"] == str(composite)
