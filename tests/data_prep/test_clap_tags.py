from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer, models, pre_tokenizers
from transformers import ClapConfig, ClapFeatureExtractor, ClapModel, PreTrainedTokenizerFast

from data_prep.clap_tags import clap_tags, load_clap, read_vocabulary
from musicgen_train.errors import UserError

RATE = 16000
WORDS = {"genre": ["rock", "jazz", "folk"], "instrument": ["piano", "flute"]}


@pytest.fixture(scope="module")
def model(tmp_path_factory):
    """A tiny CLAP with random weights, in the folder format of transformers."""
    folder = tmp_path_factory.mktemp("clap")
    torch.manual_seed(0)
    vocabulary = {"<s>": 0, "<pad>": 1, "</s>": 2, "<unk>": 3}
    words = ["This", "music", "is", ".", "Music", "played", "on", *WORDS["genre"]]
    for word in [*words, *WORDS["instrument"]]:
        vocabulary.setdefault(word, len(vocabulary))
    tokenizer = Tokenizer(models.WordLevel(vocabulary, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", unk_token="<unk>"
    ).save_pretrained(folder)
    text = {"vocab_size": 32, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2,
            "intermediate_size": 16, "max_position_embeddings": 32}  # fmt: skip
    audio = {"window_size": 8, "num_mel_bins": 64, "spec_size": 256, "patch_stride": [4, 4],
             "patch_embeds_hidden_size": 16, "num_attention_heads": [1, 1, 2, 2],
             "depths": [1, 1, 1, 1], "hidden_size": 128}  # fmt: skip
    clap = ClapModel(ClapConfig(text_config=text, audio_config=audio, projection_dim=16))
    clap.logit_scale_a.data.fill_(3.0)
    clap.save_pretrained(folder)
    ClapFeatureExtractor(feature_size=64, truncation="rand_trunc").save_pretrained(folder)
    return str(folder)


@pytest.fixture(scope="module")
def vocabulary(tmp_path_factory):
    path = tmp_path_factory.mktemp("tags") / "tags.yaml"
    path.write_text("genre: [rock, jazz, folk]\ninstrument:\n- piano\n- flute\n")
    return str(path)


def sound(seconds, seed=0):
    return torch.randn(2, int(seconds * RATE), generator=torch.Generator().manual_seed(seed))


def test_tags_are_words_of_the_vocabulary_whatever_the_sizes_of_blocks(model, vocabulary):
    wav = 0.1 * sound(34)
    found = clap_tags([wav], RATE, model, vocabulary, "cpu")
    assert found and all(set(words) <= set(WORDS[field]) for field, words in found.items())
    assert clap_tags(wav.split(7777, 1), RATE, model, vocabulary, "cpu") == found
    assert clap_tags([], RATE, model, vocabulary, "cpu") == {}
    assert isinstance(clap_tags([wav[:, :RATE]], RATE, model, vocabulary, "cpu"), dict)


def test_the_nearest_word_comes_first(model, vocabulary, monkeypatch):
    clap = load_clap(model, vocabulary, "cpu")
    for field, word in (("genre", 1), ("instrument", 0)):
        heard = torch.nn.functional.one_hot(torch.tensor(word), len(WORDS[field])).float()
        near = clap.embeddings[field].pinverse() @ heard  # like one word, unlike the others
        monkeypatch.setattr("data_prep.clap_tags._sound", lambda *_, near=near: 100 * near)
        assert clap_tags([], RATE, model, vocabulary, "cpu")[field] == [WORDS[field][word]]


def test_no_word_is_chosen_where_none_stands_out(model, vocabulary, monkeypatch):
    monkeypatch.setattr("data_prep.clap_tags._CLEAR", 0.6)
    monkeypatch.setattr("data_prep.clap_tags._sound", lambda *_: torch.zeros(16))
    assert clap_tags([], RATE, model, vocabulary, "cpu") == {}


def test_the_vocabulary_that_comes_with_the_package_is_good():
    words = read_vocabulary(Path("conf/tags.yaml"))
    assert list(words) == ["genre", "moods", "instrument"]
    assert all(len(set(tags)) == len(tags) > 20 for tags in words.values())


@pytest.mark.parametrize(
    ("text", "reason"),
    [("", "holds no fields"), ("[", "is not YAML"), ("colour: [red, blue]", "colour is not known"),
     ("genre: rock", "genre is not a list"), ("genre: [rock, 3]", "genre is not a list"),
     ("!!python/object/apply:os.getcwd []", "is not YAML")],
)  # fmt: skip
def test_a_bad_vocabulary_is_refused_in_one_line(tmp_path, text, reason):
    path = tmp_path / "tags.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=reason) as error:
        read_vocabulary(path)
    assert str(error.value).startswith(f"{path}: ") and "\n" not in str(error.value)


def test_what_is_no_clap_model_is_refused_in_one_line(tmp_path, vocabulary):
    with pytest.raises(UserError, match=r"^clap_model=.*cannot be loaded .*; check it$") as error:
        load_clap(str(tmp_path), vocabulary, "cpu")
    assert "\n" not in str(error.value)
    with pytest.raises(UserError, match="No such file"):
        read_vocabulary(tmp_path / "none.yaml")
