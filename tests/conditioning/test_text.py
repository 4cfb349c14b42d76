"""Text encoders: one interface, each text on its own."""

import argparse
import json
import shutil
import time
from types import SimpleNamespace

import huggingface_hub
import pytest
import torch
from huggingface_hub.errors import IncompleteSnapshotError, LocalEntryNotFoundError
from safetensors.torch import load_file, save_file

from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder, load_t5, t5_origin
from musicgen_train.errors import UserError
from tests.conditioning.small_t5 import TEXTS, save_t5, small_tokenizer, t5_config


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    return save_t5(tmp_path_factory.mktemp("t5"))


@pytest.fixture(params=["bag of words", "word transformer", "t5"])
def encoder(request, t5_folder):
    torch.manual_seed(0)
    if request.param == "t5":
        return T5TextEncoder(str(t5_folder), dim=16)
    return WordTextEncoder(16, num_layers=2 if request.param == "word transformer" else 0).eval()


def test_the_encoder_that_ships_reads_any_text_without_case_or_download(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda *a, **k: pytest.fail("hub"))
    encoder = T5TextEncoder("tiny_text_encoder", dim=384)
    embedding, mask = encoder(["A calm piano, 97 bpm", "a CALM piano, 97 BPM", "Ünïcode 🎵"])
    assert torch.equal(embedding[0], embedding[1])
    assert mask.sum(1).min() > 5 and embedding[mask.bool()].norm(dim=1).min() > 10


def test_a_text_does_not_depend_on_its_neighbours(encoder):
    with torch.no_grad():
        embedding, mask = encoder(TEXTS)
        for row, text in enumerate(TEXTS):
            alone, alone_mask = encoder([text])
            n = int(mask[row].sum())
            assert int(alone_mask.sum()) == n
            torch.testing.assert_close(embedding[row, :n], alone[0, :n], rtol=1e-4, atol=1e-5)
    assert embedding.shape == (*mask.shape, encoder.dim)


def test_an_empty_text_is_masked_and_padding_is_zero(encoder):
    embedding, mask = encoder(TEXTS)
    assert mask[2].sum() == 0
    assert not embedding[mask == 0].any()
    embedding, mask = encoder(["", ""])
    assert mask.shape == (2, 1)
    assert not mask.any() and not embedding.any()


def test_the_config_rebuilds_the_encoder(encoder):
    twin = type(encoder)(**encoder.config).eval()
    twin.load_state_dict(encoder.state_dict())
    for given, expected in zip(twin(TEXTS), encoder(TEXTS), strict=True):
        assert torch.equal(given, expected)


def test_words_are_case_and_punctuation_blind_and_limited():
    encoder = WordTextEncoder(8, max_words=3)
    assert encoder.word_ids("Happy, ROCK!") == encoder.word_ids("happy rock")
    assert encoder.word_ids("C# minor") != encoder.word_ids("C minor")
    assert len(encoder.word_ids("one two three four")) == 3
    assert all(0 < i < encoder.vocab_size for i in encoder.word_ids("one two three"))


def test_word_hashes_are_the_same_in_every_process():
    # Python's own hash() is salted; a checkpoint would forget its words.
    assert WordTextEncoder(8, vocab_size=4096).word_ids("happy rock") == [865, 118]


def test_words_learn():
    encoder = WordTextEncoder(8)
    encoder(["happy rock"])[0].sum().backward()
    learned = encoder.embedding.weight.grad.abs().sum(dim=1).nonzero().flatten().tolist()
    assert learned == sorted(encoder.word_ids("happy rock"))


def test_t5_equals_transformers(t5_folder):
    from transformers import AutoTokenizer, T5EncoderModel

    tokens = AutoTokenizer.from_pretrained(t5_folder)(TEXTS[0], return_tensors="pt")
    expected = T5EncoderModel.from_pretrained(t5_folder).eval()(**tokens).last_hidden_state
    embedding, mask = T5TextEncoder(str(t5_folder), dim=16)(TEXTS[:1])
    torch.testing.assert_close(embedding, expected.detach(), rtol=1e-4, atol=1e-5)
    assert mask.shape == (1, 8)  # seven words and the end


def test_t5_encodes_each_distinct_text_once(t5_folder, monkeypatch):
    encoder = T5TextEncoder(str(t5_folder), dim=16, cache_size=2)
    asked = []
    encode = encoder._encode
    monkeypatch.setattr(encoder, "_encode", lambda texts: asked.extend(texts) or encode(texts))
    encoder(["sad jazz", "piano", "sad jazz"])
    encoder(["piano", ""])
    assert asked == ["sad jazz", "piano"]
    encoder(["drums"])  # the cache holds two: "sad jazz" was used least recently
    encoder(["piano", "sad jazz"])
    assert asked == ["sad jazz", "piano", "drums", "sad jazz"]


def test_t5_is_neither_trained_nor_saved(t5_folder):
    encoder = T5TextEncoder(str(t5_folder), dim=16)
    embedding, _ = encoder(TEXTS)
    assert not embedding.requires_grad
    assert not list(encoder.parameters())
    assert not encoder.state_dict()


def test_t5_that_is_absent_or_too_wide_is_named(t5_folder, tmp_path):
    with pytest.raises(UserError, match=r"nowhere.*model\.safetensors") as error:
        T5TextEncoder(str(tmp_path / "nowhere"))(["piano"])
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match=r"width 16.*expects 768"):
        T5TextEncoder(str(t5_folder))(["piano"])


@pytest.fixture
def musicgen_folder(tmp_path):
    """A MusicGen of transformers with a T5 of width 12 inside."""
    from transformers import EncodecConfig, MusicgenConfig, MusicgenForConditionalGeneration

    codec = EncodecConfig(num_filters=2, hidden_size=4, upsampling_ratios=[2])
    decoder = {"hidden_size": 8, "num_hidden_layers": 1, "ffn_dim": 8, "num_attention_heads": 2}
    config = MusicgenConfig(
        text_encoder=t5_config(12).to_dict() | {"_name_or_path": "t5-base"},
        audio_encoder=codec.to_dict(),
        decoder=decoder | {"model_type": "musicgen_decoder"},
    )
    model = MusicgenForConditionalGeneration(config)
    model.half().save_pretrained(tmp_path, max_shard_size="50KB")
    small_tokenizer().save_pretrained(tmp_path)
    return tmp_path, model


def test_the_t5_inside_a_musicgen_is_found_in_float32_without_a_warning(musicgen_folder, caplog):
    folder, model = musicgen_folder
    _, t5 = load_t5(str(folder))
    assert t5.dtype == torch.float32
    expected = model.text_encoder.state_dict()
    assert all(torch.equal(t.half(), expected[name]) for name, t in t5.state_dict().items())
    assert "UNEXPECTED" not in caplog.text
    embedding, _ = T5TextEncoder(str(folder), dim=12)(TEXTS)
    assert embedding.shape == (4, 8, 12)


def test_a_t5_says_where_it_is_from(musicgen_folder, t5_folder):
    folder, _ = musicgen_folder
    config = json.loads((folder / "config.json").read_text())
    config["text_encoder"]["_name_or_path"] = "t5-base"
    (folder / "config.json").write_text(json.dumps(config))
    assert t5_origin(str(folder)) == "t5-base"
    assert t5_origin(str(t5_folder)) == str(t5_folder)
    assert t5_origin("google-t5/t5-small") == "google-t5/t5-small"


def test_a_text_encoder_that_is_no_whole_t5_is_refused(t5_folder, tmp_path):
    from transformers import BertConfig

    small_tokenizer().save_pretrained(tmp_path)
    t5_config().save_pretrained(tmp_path)
    state = load_file(t5_folder / "model.safetensors")
    state.pop("encoder.final_layer_norm.weight")
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"lacks the weight encoder\.final_layer_norm\.weight"):
        load_t5(str(tmp_path))
    BertConfig().save_pretrained(tmp_path)
    with pytest.raises(UserError, match="is a bert: only t5 is supported"):
        load_t5(str(tmp_path))


NAME = "google-t5/t5-tiny"


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """The hub's empty cache, and a network that is down; `hub.asked` counts the calls for it."""
    real = huggingface_hub.snapshot_download
    state = SimpleNamespace(folder=tmp_path / "cache", asked=[], online=None)

    def download(repository, *, allow_patterns, local_files_only):
        if not local_files_only:
            state.asked.append(allow_patterns)
            if state.online is None:
                raise LocalEntryNotFoundError("no network here.\nTry again.")
            state.online(allow_patterns)
        return real(repository, allow_patterns=allow_patterns, local_files_only=True)

    monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(state.folder))
    monkeypatch.chdir(tmp_path)
    root = state.folder / f"models--{NAME.replace('/', '--')}"
    (root / "refs").mkdir(parents=True)
    (root / "refs" / "main").write_text("0" * 40)
    state.snapshot = root / "snapshots" / ("0" * 40)
    return state


def without_tokenizer(folder):
    for path in folder.glob("tokenizer*"):
        path.unlink()


def refused(name):
    with pytest.raises(UserError) as raised:
        load_t5(str(name))
    message = str(raised.value)
    assert str(name) in message and "\n" not in message and len(message) < 700
    return message


def test_a_cached_t5_is_loaded_without_a_network(t5_folder, hub):
    shutil.copytree(t5_folder, hub.snapshot)
    expected = T5TextEncoder(str(t5_folder), dim=16)(TEXTS)
    for given, wanted in zip(T5TextEncoder(NAME, dim=16)(TEXTS), expected, strict=True):
        assert torch.equal(given, wanted)
    assert not hub.asked


def test_a_cache_that_lacks_what_is_not_needed_still_serves(t5_folder, hub, monkeypatch):
    shutil.copytree(t5_folder, hub.snapshot)

    def incomplete(*_, **__):  # as the hub has it where its list names one file more
        raise IncompleteSnapshotError("spiece.model is missing", str(hub.snapshot))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", incomplete)
    load_t5(NAME)


def test_a_folder_without_a_tokenizer_is_no_t5(t5_folder, tmp_path):
    # transformers would make an empty tokenizer, to which all words are the same.
    shutil.copytree(t5_folder, tmp_path / "t5")
    without_tokenizer(tmp_path / "t5")
    assert "lacks tokenizer.json and spiece.model" in refused(tmp_path / "t5")


def test_a_musicgen_without_a_tokenizer_has_no_t5(musicgen_folder):
    folder, _ = musicgen_folder
    without_tokenizer(folder)
    assert "lacks tokenizer.json and spiece.model" in refused(folder)


def test_a_cache_without_a_tokenizer_is_completed(t5_folder, hub):
    shutil.copytree(t5_folder, hub.snapshot)
    without_tokenizer(hub.snapshot)
    assert "no network here" in refused(NAME)
    hub.online = lambda _: shutil.copytree(t5_folder, hub.snapshot, dirs_exist_ok=True)
    tokenizer, _ = load_t5(NAME)
    ids = tokenizer(["sad jazz", "piano"]).input_ids
    assert ids[0] != ids[1] and 2 not in ids[0]  # 2 stands for unknown words


def test_pickles_are_only_fetched_where_there_is_nothing_else(t5_folder, hub):
    hub.online = lambda _: shutil.copytree(t5_folder, hub.snapshot, dirs_exist_ok=True)
    load_t5(NAME)
    (patterns,) = hub.asked
    assert not any("pytorch_model" in pattern for pattern in patterns)


def test_an_absent_t5_is_refused_at_once(hub, capfd, caplog):
    start = time.perf_counter()
    message = refused(NAME)
    assert "no network here" in message and "go online once" in message
    assert time.perf_counter() - start < 2
    assert not caplog.text and not capfd.readouterr().err


def truncated(folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-100])


def reshaped(folder):
    state = load_file(folder / "model.safetensors")
    state["shared.weight"] = state["shared.weight"][:, :3].contiguous()
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})


def harmful(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"shared.weight": argparse.Namespace()}, folder / "pytorch_model.bin")


def few_tokens(folder):
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | {"vocab_size": 5}))


@pytest.mark.parametrize(
    "spoil",
    [
        truncated, reshaped, harmful, few_tokens,
        lambda folder: (folder / "model.safetensors").write_bytes(b""),
        lambda folder: (folder / "model.safetensors").unlink(),
        lambda folder: (folder / "tokenizer.json").write_text("{}"),
        lambda folder: (folder / "tokenizer.json").write_text(""),
        lambda folder: (folder / "config.json").write_text("[]"),
        lambda folder: (folder / "config.json").write_text('{"model_type": "t5", "d_model": "x"}'),
    ],
)  # fmt: skip
def test_a_broken_t5_is_refused_in_one_line(spoil, t5_folder, tmp_path):
    shutil.copytree(t5_folder, tmp_path / "t5")
    spoil(tmp_path / "t5")
    refused(tmp_path / "t5")
