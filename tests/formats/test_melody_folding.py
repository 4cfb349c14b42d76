"""A model that adds its melody to the steps is also a MusicGen of transformers, for texts."""

import json

import pytest
import torch
from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import (
    AutoProcessor,
    MusicgenForConditionalGeneration,
    PreTrainedTokenizerFast,
    T5Config,
    T5EncoderModel,
)

from musicgen_train.errors import UserError
from musicgen_train.formats import (
    load_musicgen,
    save_transformers_musicgen,
    without_melody,
)
from tests.formats.small_lms import (
    RATE,
    our_model,
    random_chroma,
    random_sequence,
    their_logits,
    their_tokens,
)

TEXTS = ["calm piano with soft strings", "loud drums", "a fast song of organ, flute and bass"]
CLOSE = {"rtol": 1e-5, "atol": 1e-5}
ADDED = {"fuse_text": "cross", "fuse_chroma": "sum", "chroma_rate": RATE / 256 / 100}


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    """A T5 without layers: frozen embeddings of byte-level pieces, no token at the end."""
    folder = tmp_path_factory.mktemp("text") / "pieces"
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    tokenizer.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=300, special_tokens=["<pad>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
    )  # fmt: skip
    tokenizer.train_from_iterator(TEXTS, trainer)
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="<pad>").save_pretrained(folder)
    torch.manual_seed(0)
    encoder = T5EncoderModel(T5Config(vocab_size=300, d_model=12, d_kv=8, d_ff=8, num_layers=0))
    torch.nn.init.normal_(encoder.shared.weight)
    encoder.half().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def model(t5):
    return our_model("melody", t5, **ADDED)


@pytest.fixture(scope="module")
def folder(model, tmp_path_factory):
    return save_transformers_musicgen(without_melody(model), tmp_path_factory.mktemp("their"))


@pytest.fixture(scope="module")
def theirs(folder):
    there, info = MusicgenForConditionalGeneration.from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())
    return there.eval()


def test_without_its_melody_a_model_computes_what_it_does_when_it_gets_none(model):
    plain = without_melody(model)
    sequence = random_sequence(model.lm, 3)
    for text in (None, model.text_encoder(["", *TEXTS[:2]])):
        with torch.no_grad():
            given, expected = plain.lm(sequence, text), model.lm(sequence, text)
        torch.testing.assert_close(given, expected, **CLOSE)
        with torch.no_grad():  # the melody mattered
            assert (model.lm(sequence, text, random_chroma(3)) - expected).abs().max() > 0.1
    assert plain.chroma is None and plain.lm.config["chroma_dim"] is None
    assert model.lm.fuser.chroma_proj is not None  # which is as it was
    assert not plain.lm.training and plain.lm.embedding.weight.requires_grad


@pytest.mark.parametrize("channels", [1, 2])
def test_added_text_and_stereo_are_no_obstacle_to_the_folding(channels, t5):
    kind = {1: "melody", 2: "stereo melody"}[channels]
    model = our_model(kind, t5, **{**ADDED, "fuse_text": "sum"})
    sequence, text = random_sequence(model.lm, 2), model.text_encoder(TEXTS[:2])
    with torch.no_grad():
        given, expected = (each.lm(sequence, text) for each in (without_melody(model), model))
    torch.testing.assert_close(given, expected, **CLOSE)


@pytest.mark.parametrize("with_melody", [True, False])
def test_texts_of_a_t5_without_layers_make_the_same_music_there(
    with_melody, model, theirs, folder, t5, tmp_path, monkeypatch
):
    if not with_melody:
        model = our_model("text", t5)
        folder = save_transformers_musicgen(model, tmp_path)
        theirs = MusicgenForConditionalGeneration.from_pretrained(folder).eval()
    processor = AutoProcessor.from_pretrained(folder)
    inputs = dict(processor(text=TEXTS, padding=True, return_tensors="pt"))
    inputs.pop("token_type_ids", None)
    assert theirs.config.text_encoder.num_layers == 0
    text, sequence = model.text_encoder(TEXTS), random_sequence(model.lm, 3)
    assert torch.equal(inputs["attention_mask"], text[1]) and not text[1].all()
    with torch.no_grad():
        states = theirs.text_encoder(inputs["input_ids"]).last_hidden_state
        logits = model.lm(sequence, text)
    torch.testing.assert_close(states[text[1] > 0], text[0][text[1] > 0], **CLOSE)
    torch.testing.assert_close(their_logits(theirs, sequence, **inputs), logits, **CLOSE)
    for guidance in (1.0, 3.0):
        expected = their_tokens(theirs, monkeypatch, 9, guidance, **inputs)
        codes = model.lm.generate(9, text, cfg_coef=guidance, greedy=True)
        assert torch.equal(codes, expected) and len(codes.unique()) > 3


def test_no_text_is_the_same_there(model, theirs, monkeypatch):
    sequence = random_sequence(model.lm, 2)
    nothing = theirs.get_unconditional_inputs(num_samples=2)
    given = {"encoder_outputs": nothing.encoder_outputs, "attention_mask": nothing.attention_mask}
    with torch.no_grad():
        expected = model.lm(sequence, None)
    torch.testing.assert_close(their_logits(theirs, sequence, **given), expected, **CLOSE)
    tokens = their_tokens(theirs, monkeypatch, 9, 1.0, **given)
    assert torch.equal(tokens, model.lm.generate(9, seeds=[0, 1], cfg_coef=1.0, greedy=True))


def test_a_text_sampled_there_is_audio_of_the_asked_length(folder, theirs):
    processor = AutoProcessor.from_pretrained(folder)
    inputs = processor(text=TEXTS[:1], return_tensors="pt")
    wav = theirs.generate(**inputs, max_new_tokens=13)
    assert wav.shape == (1, 1, 10 * RATE // 100) and wav.isfinite().all() and wav.std() > 0
    assert processor.feature_extractor.sampling_rate == RATE


def test_the_folder_read_here_is_a_model_of_texts_alone(model, folder):
    loaded = load_musicgen(folder)
    assert loaded.chroma is None and loaded.lm.config["fuse_text"] == "cross"
    state = without_melody(model).lm.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in loaded.lm.state_dict().items())
    ours, back = (each.text_encoder(TEXTS) for each in (model, loaded))
    assert torch.equal(ours[0], back[0]) and torch.equal(ours[1], back[1])
    model.set_generation_params(duration=0.1, use_sampling=False)
    loaded.set_generation_params(duration=0.1, use_sampling=False)
    tokens = [each.generate(TEXTS, return_tokens=True)[1] for each in (model, loaded)]
    assert torch.equal(*tokens)
    assert json.loads((folder / "config.json").read_text())["model_type"] == "musicgen"


@pytest.mark.parametrize(
    ("kind", "options", "said"),
    [
        ("text", {}, "takes no melody: leave --without-melody out"),
        ("melody", {}, "has fuse_chroma 'prepend': leave --without-melody out"),
        ("melody", {"fuse_chroma": "cross"}, "has fuse_chroma 'cross'"),
    ],
)
def test_a_melody_that_is_not_added_cannot_be_left_out(kind, options, said, t5):
    with pytest.raises(UserError, match=said):
        without_melody(our_model(kind, t5, **options))


def test_a_rounded_model_is_not_folded(t5):
    model = our_model("melody", t5, **ADDED)
    model.prepare(weights="bfloat16")
    with pytest.raises(UserError, match="save the one it came from"):
        without_melody(model)


def test_an_added_melody_is_only_lost_on_demand(model, tmp_path):
    with pytest.raises(UserError, match="give --without-melody to write what this one does"):
        save_transformers_musicgen(model, tmp_path / "new")
    assert not (tmp_path / "new").exists()


def test_a_text_in_another_place_is_still_refused_when_the_melody_is_gone(t5, tmp_path):
    model = our_model("melody", t5, **{**ADDED, "fuse_text": "sum"})
    with pytest.raises(UserError, match="text model has fuse_text 'cross', not 'sum'"):
        save_transformers_musicgen(without_melody(model), tmp_path / "new")
