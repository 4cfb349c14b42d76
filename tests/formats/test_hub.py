"""Names of the hub: what they stand for, and what is said where they cannot be had."""

import fnmatch
import shutil
from pathlib import Path

import huggingface_hub
import pytest
from huggingface_hub.errors import LocalEntryNotFoundError

from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_codec,
    load_lm,
    load_musicgen,
    save_audiocraft_codec,
    save_audiocraft_pointer,
    save_codec,
    save_musicgen,
    save_transformers_codec,
)
from musicgen_train.formats.hub import hub_id
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from tests.formats.small_codecs import assert_same_codec, trained
from tests.formats.small_lms import their_model
from tests.formats.test_models import sharded_pickle

GOLDEN = Path(__file__).parents[1] / "golden"


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


@pytest.mark.parametrize("name", ["small", "facebook/musicgen-small"])
def test_a_released_model_is_taken_from_the_cache(name, tmp_path):
    folder = cached("facebook/musicgen-small", tmp_path)
    their_model("text", folder)
    assert load_musicgen(name).lm.n_q == load_lm(name).n_q == 4
    assert load_musicgen(name).text_encoder.name_or_path == "facebook/musicgen-small"


def test_a_model_of_anybody_is_taken_from_the_cache(codec, tmp_path):
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1)
    folder = cached("someone/their-model", tmp_path)
    save_musicgen(MusicGen("theirs", codec, lm), folder)
    assert load_musicgen("someone/their-model").name == "theirs"


def test_audiocrafts_files_serve_where_there_are_no_others(tmp_path):
    folder = cached("facebook/musicgen-melody", tmp_path)
    shutil.copytree(GOLDEN / "audiocraft_melody", folder)
    assert load_musicgen("melody").chroma is not None
    # config.json alone, as a codec's lookup leaves it, is no reason against them.
    (folder / "config.json").write_text('{"model_type": "musicgen_melody"}')
    assert load_lm("melody").config["chroma_dim"] == 12


def test_safetensors_come_before_audiocrafts_files(tmp_path):
    folder = cached("facebook/musicgen-small", tmp_path)
    their_model("text", folder)
    for file in ("state_dict.bin", "compression_state_dict.bin"):
        shutil.copy(GOLDEN / "audiocraft_text" / file, folder)
    assert load_musicgen("small").sample_rate == 3200


@pytest.mark.parametrize("lacking", ["model-00002-of-00002.safetensors", "tokenizer.json"])
def test_an_incomplete_cache_is_completed(lacking, tmp_path, monkeypatch):
    folder = cached("facebook/musicgen-small", tmp_path)
    model = their_model("text", folder)
    (folder / "model.safetensors").unlink()
    model.save_pretrained(folder, max_shard_size="60KB")
    whole = len(list(folder.glob("model-*")))
    file = folder / lacking.replace("00002.s", f"{whole:05d}.s")
    content = file.read_bytes()
    file.unlink()
    real, asked = huggingface_hub.snapshot_download, []

    def download(repository, *, allow_patterns, local_files_only):
        if not local_files_only:
            asked.append((repository, allow_patterns))
            file.write_bytes(content)
        return real(repository, allow_patterns=allow_patterns, local_files_only=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    load_musicgen("small")
    ((repository, patterns),) = asked
    assert repository == "facebook/musicgen-small"
    wanted = ("config.json", "generation_config.json", "tokenizer.json", file.name)
    for name in (*wanted, "model.safetensors", "model.safetensors.index.json"):
        assert any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name
    for name in ("state_dict.bin", "pytorch_model.bin", "flax_model.msgpack", "song.wav"):
        assert not any(fnmatch.fnmatch(name, pattern) for pattern in patterns), name


def test_without_its_tokenizer_a_cached_model_is_a_language_model_still(tmp_path):
    folder = cached("facebook/musicgen-small", tmp_path)
    their_model("text", folder)
    for file in folder.glob("tokenizer*"):
        file.unlink()
    assert load_lm("small").n_q == 4
    with pytest.raises(UserError, match="cannot be downloaded"):
        load_musicgen("small")


def test_audiocrafts_language_model_needs_no_codec_beside_it(tmp_path):
    folder = cached("facebook/musicgen-small", tmp_path)
    folder.mkdir(parents=True)
    shutil.copy(GOLDEN / "audiocraft_text" / "state_dict.bin", folder)
    assert load_lm("small").n_q == 4
    with pytest.raises(UserError, match="cannot be downloaded"):
        load_musicgen("small")


def online(source, folder, monkeypatch):
    """A network with one repository: what is asked for comes into the cache."""
    real = huggingface_hub.snapshot_download

    def download(repository, *, allow_patterns, local_files_only):
        if not local_files_only:
            folder.mkdir(parents=True, exist_ok=True)
            for path in source.iterdir():
                if any(fnmatch.fnmatch(path.name, pattern) for pattern in allow_patterns):
                    shutil.copy(path, folder)
        return real(repository, allow_patterns=allow_patterns, local_files_only=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)


def test_a_native_repository_is_fetched(codec, tmp_path, monkeypatch):
    folder = cached("someone/encodec-and-model", tmp_path)
    lm = LanguageModel(n_q=4, card=16, dim=16, num_heads=2, num_layers=1)
    save_musicgen(MusicGen("theirs", codec, lm), tmp_path / "there")
    online(tmp_path / "there", folder, monkeypatch)
    assert load_codec("someone/encodec-and-model").identity() == codec.identity()
    assert not (folder / "model.safetensors").exists()
    assert load_musicgen("someone/encodec-and-model").name == "theirs"


def test_a_native_codec_is_fetched_and_no_model(codec, tmp_path, monkeypatch):
    folder = cached("someone/codec", tmp_path)
    save_codec(codec, tmp_path / "there")
    online(tmp_path / "there", folder, monkeypatch)
    for load in (load_lm, load_musicgen):
        with pytest.raises(UserError, match="holds a codec, not a language model"):
            load("someone/codec")
    shutil.rmtree(folder)
    assert load_codec("someone/codec").identity() == codec.identity()


def test_a_sharded_pickle_is_fetched(tmp_path, monkeypatch):
    folder = cached("someone/old", tmp_path)
    their_model("text", tmp_path / "there")
    sharded_pickle(tmp_path / "there")
    online(tmp_path / "there", folder, monkeypatch)
    model = load_musicgen("someone/old")
    assert (model.name, model.lm.n_q) == ("someone/old", 4)
    assert len(list(folder.glob("pytorch_model-*.bin"))) == 2


@pytest.mark.parametrize("name", ["stereo-small", "facebook/musicgen-stereo-small"])
@pytest.mark.parametrize("load", [load_lm, load_musicgen])
def test_an_absent_model_says_which_files_to_put_where(name, load, tmp_path):
    with pytest.raises(UserError, match=r"cannot be downloaded \(no network here\)") as raised:
        load(name)
    said = str(raised.value)
    for file in ("config.json", "model.safetensors", "tokenizer.json", "state_dict.bin",
                 "compression_state_dict.bin"):  # fmt: skip
        assert file in said
    place = "facebook/musicgen-stereo-small"
    assert said.endswith(f"into the folder {place} here") and "\n" not in said
    their_model("stereo text", tmp_path / place)  # as was told
    assert load_musicgen(name).audio_channels == 2


def test_a_codec_on_the_hub_is_no_model(tmp_path):
    save_transformers_codec(trained(lstm=1), cached("someone/codec", tmp_path))
    with pytest.raises(UserError, match="holds a codec, not a language model"):
        load_musicgen("someone/codec")


@pytest.mark.parametrize("path", ["nowhere", "./runs/nowhere", "/nowhere/codec", "runs/a/b"])
def test_a_path_that_is_not_there_is_no_name_of_the_hub(path):
    with pytest.raises(UserError, match=f"no checkpoint at {path}"):
        load_codec(path)


def test_a_folder_without_a_checkpoint_says_what_it_lacks(tmp_path):
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=r"no config\.json and no compression_state_dict\.bin"):
        load_codec(tmp_path / "empty")
