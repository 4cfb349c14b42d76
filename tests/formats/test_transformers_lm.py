"""transformers' MusicGens: what it saves loads here, what is written here loads there."""

import json
import shutil
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file, save_file
from transformers import (
    AutoProcessor,
    MusicgenForConditionalGeneration,
    MusicgenMelodyForConditionalGeneration,
)
from transformers.modeling_outputs import BaseModelOutput

from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor, one_hot
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.audiocraft_lm import read_audiocraft_musicgen, save_audiocraft_musicgen
from musicgen_train.formats.transformers_lm import (
    read_transformers_lm,
    read_transformers_musicgen,
    save_transformers_musicgen,
    transformers_drops_melody,
)
from musicgen_train.lm.delay import delay_codes, undelay
from tests.conditioning.small_t5 import TEXTS, save_t5, small_tokenizer
from tests.formats.editing import put
from tests.formats.small_lms import (
    CARD,
    KINDS,
    RATE,
    our_model,
    random_chroma,
    random_sequence,
    their_logits,
    their_model,
    their_tokens,
)
from tests.formats.test_audiocraft_codec import GOLDEN, Harmful

WORDS = [text for text in TEXTS if text]  # for transformers "" is a text like any other
CLOSE = {"rtol": 1e-4, "atol": 1e-4}
CLASSES = {False: MusicgenForConditionalGeneration, True: MusicgenMelodyForConditionalGeneration}


@pytest.fixture(scope="module")
def t5(tmp_path_factory):
    return save_t5(tmp_path_factory.mktemp("t5"), width=12)


@pytest.fixture(scope="module", params=list(KINDS))
def theirs(request, tmp_path_factory):
    """A kind, transformers' model of it, and the folder that it saved."""
    folder = tmp_path_factory.mktemp("theirs")
    return request.param, their_model(request.param, folder), folder


@pytest.fixture(scope="module")
def foreign(tmp_path_factory):
    """A melody folder that transformers saved."""
    folder = tmp_path_factory.mktemp("foreign")
    their_model("melody", folder)
    return folder


@pytest.fixture(scope="module", params=list(KINDS))
def ours(request, tmp_path_factory, t5):
    """A kind, our model of it, and the folder that was exported."""
    model = our_model(request.param, t5)
    folder = tmp_path_factory.mktemp("ours")
    return request.param, model, save_transformers_musicgen(model, folder)


def load_theirs(folder, melody):
    model, info = CLASSES[melody].from_pretrained(folder, output_loading_info=True)
    assert not any(info.values())  # nothing missing, nothing left over
    return model.eval()


def batches(kind):
    """Rows to compare: transformers pads the texts of Melody without masking them."""
    melody, _ = KINDS[kind]
    return [[0], [1], [2]] if melody else [[0, 1, 2]]


def inputs_of(kind, rows):
    """The same texts and melodies for transformers, and for us."""
    melody, _ = KINDS[kind]
    tokens = small_tokenizer()([WORDS[row] for row in rows], padding=True, return_tensors="pt")
    inputs = {name: tokens[name] for name in ("input_ids", "attention_mask")}
    chroma = random_chroma(3)[rows] if melody else None
    return inputs | ({"input_features": chroma} if melody else {}), chroma


def assert_same_music(kind, model, there, monkeypatch):
    """Logits within 1e-4 and equal greedy tokens, with guidance and without."""
    sequence = random_sequence(model.lm, 3)
    for rows in batches(kind):
        inputs, chroma = inputs_of(kind, rows)
        text = model.text_encoder([WORDS[row] for row in rows])
        with torch.no_grad():
            logits = model.lm(sequence[rows], text, chroma)
        torch.testing.assert_close(logits, their_logits(there, sequence[rows], **inputs), **CLOSE)
        for guidance in (1.0, 3.0):
            expected = their_tokens(there, monkeypatch, 9, guidance, **inputs)
            codes = model.lm.generate(9, text, chroma, cfg_coef=guidance, greedy=True)
            assert torch.equal(codes, expected)
            assert len(codes.unique()) > 3  # music, not one code for ever


def test_what_transformers_saves_makes_the_same_music_here(theirs, monkeypatch):
    kind, there, folder = theirs
    model = read_transformers_musicgen(folder)
    assert_same_music(kind, model, there, monkeypatch)


def test_what_is_written_here_makes_the_same_music_in_transformers(ours, monkeypatch):
    kind, model, folder = ours
    assert_same_music(kind, model, load_theirs(folder, KINDS[kind][0]), monkeypatch)


def test_a_musicgen_comes_back_to_the_last_bit(ours):
    kind, model, folder = ours
    loaded = read_transformers_musicgen(folder)
    state = model.lm.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in loaded.lm.state_dict().items())
    assert type(loaded.codec) is type(model.codec)
    assert loaded.codec.identity() == model.codec.identity()
    assert (loaded.name, loaded.max_duration) == (folder.name, model.max_duration)
    for given, expected in zip(loaded.text_encoder(TEXTS), model.text_encoder(TEXTS), strict=True):
        torch.testing.assert_close(given, expected)  # not equal: others were in the batch
    idle = set() if KINDS[kind][0] else {"chroma_length"}
    assert {k for k, v in model.lm.config.items() if loaded.lm.config[k] != v} <= idle
    if model.chroma is not None:
        assert loaded.chroma.config == model.chroma.config


def test_the_files_say_what_transformers_needs(ours):
    kind, _, folder = ours
    melody, channels = KINDS[kind]
    assert {path.name for path in folder.iterdir()} == {
        "config.json", "generation_config.json", "model.safetensors", "preprocessor_config.json",
        "processor_config.json", "tokenizer.json", "tokenizer_config.json",
    }  # fmt: skip
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in folder.iterdir())
    config, generation = (
        json.loads((folder / name).read_text())
        for name in ("config.json", "generation_config.json")
    )
    decoder = config["decoder"]
    for name in ("pad_token_id", "bos_token_id", "decoder_start_token_id"):
        assert decoder[name] == generation[name] == CARD
    assert (decoder["dropout"], decoder["num_codebooks"]) == (0.0, 4 * channels)
    assert decoder["audio_channels"] == channels
    assert generation["max_length"] == 200 and generation["guidance_scale"] == 3.0
    assert generation["do_sample"] is True
    with safe_open(folder / "model.safetensors", "pt") as file:
        assert file.metadata() == {"format": "pt"}
        names = set(file.keys())
    assert not any("embed_positions" in name for name in names)
    assert "text_encoder.encoder.embed_tokens.weight" not in names  # it is shared.weight
    assert any("encoder_attn" in name for name in names) != melody


def test_transformers_trains_what_is_written(ours):
    kind, model, folder = ours
    there = load_theirs(folder, KINDS[kind][0])
    inputs, _ = inputs_of(kind, [0])
    codes = torch.randint(CARD, (1, model.lm.n_q, 8))
    delayed = delay_codes(codes, model.lm.delays, CARD)[..., :8]
    loss = there(**inputs, labels=delayed.transpose(1, 2)).loss
    text = model.text_encoder(WORDS[:1])
    logits, mask = model.lm.logits(codes, text, inputs.get("input_features"))
    losses = [
        torch.nn.functional.cross_entropy(logits[0, k][mask[0, k]], codes[0, k][mask[0, k]])
        for k in range(model.lm.n_q)
    ]
    torch.testing.assert_close(loss, torch.stack(losses).mean(), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("left_out", ["processor_config.json", "preprocessor_config.json"])
def test_the_processor_of_both_generations_of_transformers_loads(ours, left_out, tmp_path):
    kind, model, folder = ours
    for path in folder.iterdir():
        if path.name != left_out:
            (tmp_path / path.name).symlink_to(path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    melody, channels = KINDS[kind]
    extractor = processor.feature_extractor
    assert extractor.sampling_rate == RATE
    assert extractor.feature_size == (12 if melody else channels)
    loaded = read_transformers_musicgen(tmp_path)
    if melody:
        assert loaded.chroma.config == model.chroma.config
        assert (extractor.n_fft, extractor.hop_length) == (model.chroma.window, model.chroma.hop)


def test_text_in_music_out_equals_their_processor_and_generate(theirs, monkeypatch):
    kind, there, folder = theirs
    model = read_transformers_musicgen(folder)
    model.set_generation_params(use_sampling=False, duration=0.12, cfg_coef=3.0)
    processor = AutoProcessor.from_pretrained(folder)
    for row in range(2):
        inputs = dict(processor(text=[WORDS[row]], padding=True, return_tensors="pt"))
        inputs.pop("token_type_ids", None)
        expected = their_tokens(there, monkeypatch, 12, 3.0, **inputs)
        wav, codes = model.generate([WORDS[row]], return_tokens=True)
        assert torch.equal(codes, expected)
        assert wav.shape[1] == KINDS[kind][1]


@pytest.mark.parametrize("kind", ["melody", "stereo melody"])
def test_melody_in_music_out_equals_their_processor_and_generate(kind, tmp_path, monkeypatch):
    there = their_model(kind, tmp_path)
    model = read_transformers_musicgen(tmp_path)
    model.set_generation_params(use_sampling=False, duration=0.12, cfg_coef=3.0)
    processor = AutoProcessor.from_pretrained(tmp_path)
    time = torch.arange(int(model.max_duration * RATE)) / RATE
    melody = (2 * torch.pi * (220 * 2 ** ((3 * time).floor() / 4)) * time).sin()[None]
    inputs = processor(
        audio=melody[0].numpy(), sampling_rate=RATE, text=WORDS[:1], padding=True,
        return_tensors="pt",
    )  # fmt: skip
    chroma = one_hot(model.chroma(melody[None]))
    assert torch.equal(chroma, inputs["input_features"])
    assert len(chroma.argmax(dim=-1).unique()) > 3  # a melody that moves
    inputs = {k: inputs[k] for k in ("input_ids", "attention_mask", "input_features")}
    expected = their_tokens(there, monkeypatch, 12, 3.0, **inputs)
    _, codes = model.generate_with_chroma(WORDS[:1], melody, RATE, return_tokens=True)
    assert torch.equal(codes, expected)


@pytest.mark.parametrize("name", ["text", "melody"])
def test_a_published_audiocraft_folder_gives_its_numbers_in_transformers(
    name, tmp_path, monkeypatch
):
    model = read_audiocraft_musicgen(GOLDEN / f"audiocraft_{name}")
    t5 = save_t5(tmp_path / "t5", width=512)  # what it says is replaced below
    model.text_encoder = T5TextEncoder(str(t5), dim=512)
    there = load_theirs(save_transformers_musicgen(model, tmp_path / "new"), name == "melody")
    io = load_file(GOLDEN / f"audiocraft_{name}" / "io.safetensors")
    embedding, mask, codes = io["io.text_embedding"], io["io.text_mask"], io["io.codes"]

    def inputs(row):
        length = int(mask[row].sum())
        output = BaseModelOutput(last_hidden_state=embedding[row : row + 1, :length])
        monkeypatch.setattr(there.text_encoder, "forward", lambda *args, **kwargs: output)
        given = {
            "input_ids": torch.zeros(1, length, dtype=torch.long),
            "attention_mask": torch.ones(1, length, dtype=torch.long),
        }
        if name == "melody":
            wav = io["io.melody_wav"][row : row + 1]
            given["input_features"] = one_hot(ChromaExtractor(32000)(wav))
        return given

    for row, expected in ((0, io["io.logits"][0]), (1, io["io.logits_row1_alone"][0])):
        sequence = model.lm.with_start(delay_codes(codes[row : row + 1], model.lm.delays, 64))
        logits = their_logits(there, sequence[..., :16], **inputs(row))
        valid = io["io.mask"][row]
        logits = undelay(logits, model.lm.delays, n_frames=16)[0]
        torch.testing.assert_close(logits[valid], expected[valid], **CLOSE)
    # Undone first: `their_tokens` undoes what it patches, and this with it.
    encoder, given = there.text_encoder, inputs(1)
    forward = encoder.forward
    monkeypatch.undo()
    encoder.forward = forward
    tokens = their_tokens(there, monkeypatch, 20, 3.0, **given)
    assert torch.equal(tokens, io["io.greedy_row1_cfg3"])


@pytest.mark.parametrize("width", [12, 16])
@pytest.mark.parametrize("kind", ["text", "melody"])
def test_conditions_of_the_models_own_width_are_not_projected(kind, width, tmp_path, monkeypatch):
    # For transformers a text of width 16, or a chroma of width 12, needs no projection.
    there = their_model(kind, tmp_path / "theirs", width=width, text_width=16)
    names = load_file(tmp_path / "theirs" / "model.safetensors").keys()
    assert ("enc_to_dec_proj.weight" in names) == (width == 12)
    assert ("audio_enc_to_dec_proj.weight" in names) == (kind == "melody" and width == 16)
    model = read_transformers_musicgen(tmp_path / "theirs")
    assert_same_music(kind, model, there, monkeypatch)
    save_transformers_musicgen(model, tmp_path / "ours")
    assert load_file(tmp_path / "ours" / "model.safetensors").keys() == names
    again = read_transformers_lm(tmp_path / "ours")
    state = model.lm.state_dict()
    assert all(torch.equal(t, state[name]) for name, t in again.state_dict().items())


def test_shards_old_pickles_and_fixed_positions_are_read(theirs, tmp_path):
    _, there, folder = theirs
    expected = read_transformers_lm(folder).state_dict()
    there.save_pretrained(tmp_path / "shards", max_shard_size="20KB")
    assert len(list((tmp_path / "shards").glob("*.safetensors"))) > 2
    state = load_file(folder / "model.safetensors")
    state["decoder.model.decoder.embed_positions.weights"] = torch.zeros(2048, 16)
    pickled = tmp_path / "pickled"
    pickled.mkdir()
    (pickled / "config.json").write_text((folder / "config.json").read_text())
    torch.save(state, pickled / "pytorch_model.bin")
    for each in (tmp_path / "shards", pickled):
        lm = read_transformers_lm(each)
        assert not lm.training
        assert all(torch.equal(t, expected[name]) for name, t in lm.state_dict().items())


@pytest.mark.parametrize(("steps", "seconds"), [(1500, 15.0), (1503, 15.0), (50, 0.5), (None, 30)])
def test_the_longest_window_follows_from_the_generation_config(steps, seconds, foreign, tmp_path):
    for path in foreign.iterdir():
        if path.name != "generation_config.json":
            (tmp_path / path.name).symlink_to(path)
    if steps is not None:
        content = json.dumps({"max_length": steps})
        (tmp_path / "generation_config.json").write_text(content)
    assert read_transformers_musicgen(tmp_path).max_duration == seconds


def test_model_and_t5_are_named_by_their_place(foreign, monkeypatch):
    monkeypatch.chdir(foreign)
    for folder in (foreign, Path(), foreign / ".." / foreign.name):
        model = read_transformers_musicgen(folder)
        assert (model.name, model.text_encoder.name_or_path) == (foreign.name, str(foreign))
    repository = "someone/" + "their-model" * 9
    model = read_transformers_musicgen(foreign, repository)
    assert (model.name, model.text_encoder.name_or_path) == (repository[:80], repository)


def test_a_t5_is_known_by_name_after_a_journey_through_transformers(tmp_path):
    folder = save_t5(tmp_path / "t5-small", width=512)
    model = our_model("text", folder, text_dim=512)
    save_transformers_musicgen(model, tmp_path / "there")
    back = read_transformers_musicgen(tmp_path / "there")
    save_audiocraft_musicgen(back, tmp_path / "audiocraft")
    again = read_audiocraft_musicgen(tmp_path / "audiocraft")
    assert again.text_encoder.name_or_path == "google-t5/t5-small"


def refused(kind="text", encoder=None, codec=None, **options):
    def build(t5):
        model = our_model(kind, t5, **options)
        model.text_encoder = encoder or model.text_encoder
        for name, value in (codec or {}).items():
            mono = model.codec.mono if isinstance(model.codec, StereoCodec) else model.codec
            mono.config[name] = value
        return model

    return build


@pytest.mark.parametrize(
    ("build", "said"),
    [
        (refused(encoder=WordTextEncoder(dim=12)), "read text by T5"),
        (refused(text_dim=None), "the text encoder here is none"),
        (refused(encoder=T5TextEncoder("/no/where", dim=12)), "'/no/where' cannot be loaded"),
        (refused(fuse_text="prepend"), "text model has fuse_text 'cross', not 'prepend'"),
        (refused(fuse_text="sum"), "text model has fuse_text 'cross', not 'sum'"),
        (refused("melody", fuse_text="cross"), "melody model has fuse_text 'prepend', not 'cross'"),
        (refused("melody", fuse_chroma="cross"), "melody model has fuse_chroma 'prepend'"),
        (refused(delays=[0, 0, 0, 0]), r"delays these codebooks by \[0, 1, 2, 3\]"),
        (refused("stereo text", delays=[*range(8)]), r"by \[0, 0, 1, 1, 2, 2, 3, 3\]"),
        (refused(dim=12, num_heads=2), "projects no condition that has the model's own width 12"),
        (refused(codec={"norm": "none"}), "EncodecModel knows weight and group norm"),
        (refused("stereo melody", codec={"norm": "none"}), "EncodecModel knows weight and group"),
    ],
)
def test_what_transformers_cannot_hold_is_refused_before_anything_is_written(
    build, said, t5, tmp_path
):
    with pytest.raises(UserError, match=said) as raised:
        save_transformers_musicgen(build(t5), tmp_path / "new")
    assert "\n" not in str(raised.value)
    assert not (tmp_path / "new").exists()


@pytest.fixture(scope="module")
def exported_melody(t5, tmp_path_factory):
    return save_transformers_musicgen(our_model("melody", t5), tmp_path_factory.mktemp("melody"))


@pytest.fixture
def melody_folder(exported_melody, tmp_path):
    """A copy, to be spoilt."""
    return Path(shutil.copytree(exported_melody, tmp_path / "melody"))


@pytest.mark.parametrize(
    ("key", "value", "said"),
    [
        ("model_type", "speecht5", "model_type 'speecht5': only musicgen and musicgen_melody"),
        ("model_type", ["musicgen"], "describes model_type"),
        ("model_type", "musicgen", "decoder has model_type 'musicgen_melody_decoder', but only"),
        ("text_encoder", None, "the section text_encoder is missing"),
        ("text_encoder.model_type", "umt5", "text_encoder has model_type 'umt5', but only t5"),
        ("text_encoder.d_model", "768", "text_encoder.d_model is '768'"),
        ("text_encoder.d_model", 20, "the shape of enc_to_dec_proj.weight is"),
        ("decoder", 3, "the section decoder is missing"),
        ("decoder.activation_function", "relu", "decoder.activation_function is 'relu'"),
        ("decoder.scale_embedding", True, "decoder.scale_embedding is True"),
        ("decoder.tie_word_embeddings", True, "decoder.tie_word_embeddings is True"),
        ("decoder.cross_attention_hidden_size", 12, "cross_attention_hidden_size is 12"),
        ("decoder.ffn_dim", 17, "decoder.ffn_dim is 17, but should be a multiple"),
        ("decoder.ffn_dim", 16 * 10**6, "ffn_dim / decoder.hidden_size is 1000000"),
        ("decoder.hidden_size", 0, "decoder.hidden_size is 0"),
        ("decoder.hidden_size", 2**40, "decoder.hidden_size is"),
        ("decoder.hidden_size", 32, "the weights do not fit the config: the shape of"),
        ("decoder.num_hidden_layers", 3, "layers.2.self_attn.q_proj.weight is missing"),
        ("decoder.num_hidden_layers", 1, r"layers\.1\S+ is unknown"),
        ("decoder.num_attention_heads", 3, "dim 16 is not a multiple of num_heads 3"),
        ("decoder.num_codebooks", 10**9, "decoder.num_codebooks is 1000000000"),
        ("decoder.num_codebooks", 5, "embed_tokens.4.weight is missing"),
        ("decoder.num_codebooks", 3, r"\.3\.weight' is unknown"),
        ("decoder.audio_channels", 3, "decoder.audio_channels is 3, but should be 1 or 2"),
        ("decoder.audio_channels", True, "decoder.audio_channels is True"),
        ("decoder.vocab_size", 17, "the shape of|pad_token_id is 16"),
        ("decoder.pad_token_id", 0, "decoder.pad_token_id is 0, but should be the vocab_size 16"),
        ("decoder.bos_token_id", ..., "decoder.bos_token_id is 2048"),
        ("decoder.decoder_start_token_id", 1, "decoder.decoder_start_token_id is 1"),
        ("num_chroma", 0, "num_chroma is 0"),
        ("num_chroma", 24, "the shape of audio_enc_to_dec_proj|num_chroma is 12, but"),
        ("chroma_length", -1, "chroma_length is -1"),
        ("audio_encoder.model_type", "dac", "model_type 'dac': only encodec"),
        ("musicgen_train", [1], "the section musicgen_train is missing"),
        ("musicgen_train.dropout", 2, "musicgen_train.dropout is 2"),
        ("musicgen_train.max_duration", -3, "musicgen_train.max_duration is -3"),
    ],
)
def test_a_config_that_is_foreign_or_absurd_is_refused(key, value, said, melody_folder):
    path = melody_folder / "config.json"
    config = json.loads(path.read_text())
    put(config, key.split("."), value)
    path.write_text(json.dumps(config))
    with pytest.raises(UserError, match=said) as raised:
        read_transformers_musicgen(melody_folder)
    assert "\n" not in str(raised.value) and len(str(raised.value)) < 500


@pytest.mark.parametrize(
    ("file", "content", "said"),
    [
        ("processor_config.json", {"feature_extractor": {"n_fft": 2**40}}, "n_fft is"),
        ("processor_config.json", {"feature_extractor": {"hop_length": "4"}}, "hop_length is '4'"),
        ("processor_config.json", {"feature_extractor": {"num_chroma": 7}}, "num_chroma is 7"),
        ("generation_config.json", {"max_length": "long"}, "max_length is 'long'"),
        ("generation_config.json", {"max_length": 10**12}, "max_length is"),
    ],
)
def test_files_beside_the_weights_are_not_trusted(file, content, said, melody_folder):
    config = json.loads((melody_folder / "config.json").read_text())
    config.pop("musicgen_train")
    (melody_folder / "config.json").write_text(json.dumps(config))
    (melody_folder / file).write_text(json.dumps(content))
    with pytest.raises(UserError, match=said) as raised:
        read_transformers_musicgen(melody_folder)
    assert file in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("decoder.lm_heads.2.weight"), r"decoder\.lm_heads\.2\.weight is missing"),
        (lambda s: s.pop("enc_to_dec_proj.bias"), r"enc_to_dec_proj\.bias is missing"),
        (lambda s: s.update({"decoder.x": torch.ones(1)}), "'decoder.x' is unknown"),
        (
            lambda s: s.update({"decoder.lm_heads.0.weight": torch.ones(16, 16).int()}),
            "holds no floating point numbers",
        ),
    ],
)
def test_weights_that_do_not_fit_are_named(change, said, melody_folder):
    state = load_file(melody_folder / "model.safetensors")
    change(state)
    save_file(state, melody_folder / "model.safetensors")
    with pytest.raises(UserError, match=said) as raised:
        read_transformers_lm(melody_folder)
    assert "\n" not in str(raised.value)


def test_a_pickle_that_holds_code_is_refused_and_not_run(melody_folder):
    (melody_folder / "model.safetensors").unlink()
    torch.save({"decoder.x": Harmful(melody_folder / "run")}, melody_folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds more than tensors and plain values"):
        read_transformers_lm(melody_folder)
    assert not (melody_folder / "run").exists()


@pytest.mark.parametrize(
    ("version", "drops"),
    [
        *(
            (v, False)
            for v in ("4.48.3", "4.51.3", "4.53.3", "5.0.0", "5.18.0", "5.20.0", "5.23.0")
        ),
        *((v, True) for v in ("4.55.4", "4.56.2", "4.57.1", "4.57.6", "5.5.4", "5.12.1", "5.15.1")),
        *((v, True) for v in ("5.16.1", "5.17.0")),
        *((v, False) for v in ("5.0.0rc1", "5.24.0.dev0", "6.0.0")),
    ],
)
def test_versions_of_transformers_that_ignore_the_melody_are_known(version, drops):
    assert transformers_drops_melody(version) is drops
