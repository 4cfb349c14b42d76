"""Text encoders: one interface, each text on its own."""

import pytest
import torch

from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError

TEXTS = ["a happy rock song with loud drums", "sad jazz", "", "piano"]


@pytest.fixture(scope="module")
def t5_folder(tmp_path_factory):
    """A tiny random T5 with a word tokenizer, saved as the hub would."""
    from tokenizers import Tokenizer, models, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast, T5Config, T5EncoderModel

    words = ["<pad>", "</s>", "<unk>", *sorted({w for text in TEXTS for w in text.split()})]
    tokenizer = Tokenizer(models.WordLevel({w: i for i, w in enumerate(words)}, unk_token="<unk>"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="$A </s>", special_tokens=[("</s>", 1)]
    )
    folder = tmp_path_factory.mktemp("t5")
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="<pad>", eos_token="</s>", unk_token="<unk>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = T5Config(vocab_size=len(words), d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2)
    T5EncoderModel(config).save_pretrained(folder)
    return folder


@pytest.fixture(params=["bag of words", "word transformer", "t5"])
def encoder(request, t5_folder):
    torch.manual_seed(0)
    if request.param == "t5":
        return T5TextEncoder(str(t5_folder), dim=16)
    return WordTextEncoder(16, num_layers=2 if request.param == "word transformer" else 0).eval()


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
