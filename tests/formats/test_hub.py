"""Names of the hub: what they stand for, and what is said where they cannot be had."""

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_codec,
    save_audiocraft_codec,
    save_audiocraft_pointer,
    save_transformers_codec,
)
from musicgen_train.formats.hub import hub_id
from tests.formats.small_codecs import assert_same_codec, trained


@pytest.fixture(autouse=True)
def offline(monkeypatch, tmp_path):
    """No network, and an empty cache that `cached` fills."""
    real = huggingface_hub.snapshot_download

    def download(*args, local_files_only, **kwargs):
        if not local_files_only:
            raise LocalEntryNotFoundError("no network here.\nTry again.")
        return real(*args, local_files_only=True, **kwargs)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)


def cached(repository, tmp_path):
    """The folder where the hub's cache keeps a repository."""
    root = tmp_path / "cache" / f"models--{repository.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    return root / "snapshots" / ("0" * 40)


@pytest.mark.parametrize(
    ("name", "repository"),
    [
        ("small", "facebook/musicgen-small"),
        ("stereo-melody-large", "facebook/musicgen-stereo-melody-large"),
        ("encodec_24khz", "facebook/encodec_24khz"),
        ("someone/their-codec", "someone/their-codec"),
        ("smal", None),
        ("a/b/c", None),
        ("../b", None),
        ("/abs", None),
    ],
)
def test_names_stand_for_repositories(name, repository):
    assert hub_id(name) == repository


def test_a_released_codec_is_taken_from_the_cache(tmp_path):
    codec = trained(lstm=1)
    save_transformers_codec(codec, cached("facebook/encodec_32khz", tmp_path))
    for name in ("encodec_32khz", "facebook/encodec_32khz"):
        assert_same_codec(load_codec(name), codec)
    save_audiocraft_pointer("facebook/encodec_32khz", tmp_path / "pointer")
    assert_same_codec(load_codec(tmp_path / "pointer"), codec)


def test_the_codec_of_a_released_musicgen_is_its_small_file(tmp_path):
    codec = trained()
    folder = save_audiocraft_codec(codec, cached("facebook/musicgen-small", tmp_path))
    (folder / "config.json").write_text('{"model_type": "musicgen"}')  # its weights are not cached
    assert_same_codec(load_codec("small"), codec)


def test_a_cache_without_weights_does_not_count(tmp_path):
    folder = cached("facebook/encodec_32khz", tmp_path)
    folder.mkdir(parents=True)
    (folder / "config.json").write_text("{}")
    with pytest.raises(UserError, match="cannot be downloaded"):
        load_codec("encodec_32khz")


def test_without_a_network_one_line_says_what_to_put_where(tmp_path):
    with pytest.raises(UserError, match=r"cannot be downloaded \(no network here\)") as raised:
        load_codec("facebook/encodec_32khz")
    assert "config.json and model.safetensors into a folder" in str(raised.value)
    save_audiocraft_pointer("facebook/encodec_32khz", tmp_path / "pointer")
    with pytest.raises(UserError, match="cannot be downloaded") as raised:
        load_codec(tmp_path / "pointer")
    assert str(raised.value).endswith(f"into {tmp_path / 'pointer' / 'encodec_32khz'}")


@pytest.mark.parametrize("path", ["nowhere", "./runs/nowhere", "/nowhere/codec", "runs/a/b"])
def test_a_path_that_is_not_there_is_no_name_of_the_hub(path):
    with pytest.raises(UserError, match=f"no checkpoint at {path}"):
        load_codec(path)


def test_a_folder_without_a_checkpoint_says_what_it_lacks(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json and no compression_state_dict\.bin"):
        load_codec(tmp_path / "empty")
