"""transformers' codecs: what it saves loads here, what is written here loads there."""

import json
import math

import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import (
    AutoProcessor,
    EncodecConfig,
    EncodecModel,
    MusicgenConfig,
    MusicgenForConditionalGeneration,
    MusicgenMelodyConfig,
    MusicgenMelodyForConditionalGeneration,
    T5Config,
)

from musicgen_train.errors import UserError
from musicgen_train.formats import load_codec, save_transformers_codec
from musicgen_train.formats.transformers_codec import bandwidths
from tests.formats.small_codecs import CHUNKED, EVERYWHERE, assert_same_codec, trained

KINDS = {**EVERYWHERE, "chunked": CHUNKED, "stereo": {**EVERYWHERE["stereo"], "n_q": 4}}


@pytest.fixture
def folder(tmp_path):
    return save_transformers_codec(trained(lstm=1), tmp_path)


def edit(folder, **changes):
    """Change keys of config.json; a value `...` drops one."""
    path = folder / "config.json"
    config = json.loads(path.read_text()) | changes
    path.write_text(json.dumps({k: v for k, v in config.items() if v is not ...}))


@pytest.mark.parametrize("kind", KINDS)
def test_a_codec_comes_back_to_the_last_bit(kind, tmp_path):
    codec = trained(**KINDS[kind])
    save_transformers_codec(codec, tmp_path)
    assert_same_codec(load_codec(tmp_path), codec)
    assert all(path.stat().st_mode & 0o044 == 0o044 for path in tmp_path.iterdir())


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_transformers_loads_what_is_written_and_computes_the_same(kind, tmp_path):
    codec = trained(**KINDS[kind])
    save_transformers_codec(codec, tmp_path)
    model, info = EncodecModel.from_pretrained(tmp_path, output_loading_info=True)
    assert not any(info.values())  # nothing missing, nothing left over
    wav = torch.randn(2, codec.channels, 1111)
    theirs = model.encode(wav, bandwidth=model.config.target_bandwidths[-1], return_dict=True)
    expected = torch.cat(list(theirs.audio_codes), -1)
    expected = expected[..., : expected.shape[-1] - theirs.last_frame_pad_length]
    codes = codec.encode(wav)
    assert torch.equal(codes, expected)
    audio = model.decode(
        theirs.audio_codes, theirs.audio_scales, last_frame_pad_length=theirs.last_frame_pad_length
    ).audio_values
    torch.testing.assert_close(
        codec.decode(codes, codec.loudness(wav)), audio, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("kind", ["plain", "stereo", "chunked"])
def test_the_processor_prepares_audio_for_the_model(kind, tmp_path):
    codec = trained(**KINDS[kind])
    save_transformers_codec(codec, tmp_path)
    processor = AutoProcessor.from_pretrained(tmp_path)
    audio = torch.randn(codec.channels, 700)
    raw = audio[0].numpy() if codec.channels == 1 else audio.numpy()
    inputs = processor(raw_audio=raw, sampling_rate=codec.sample_rate, return_tensors="pt")
    assert torch.equal(inputs["input_values"][0, :, :700], audio)
    output = EncodecModel.from_pretrained(tmp_path)(**inputs)
    assert output.audio_values.shape[-1] >= 700


@pytest.mark.parametrize("dropout", [False, True])
def test_bandwidths_give_transformers_every_codebook(dropout):
    codec = trained(lstm=1)
    codec.config["quantizer_dropout"] = dropout
    for codec.n_q in (1, 2, 3, 4, 7, 9, 32, 100):
        for codec.sample_rate, codec.hop_length in ((32000, 640), (44100, 512), (16000, 333)):
            for codec.card in (16, 1024, 2048):
                rates = bandwidths(codec)
                config = EncodecConfig(
                    target_bandwidths=rates,
                    sampling_rate=codec.sample_rate,
                    upsampling_ratios=[codec.hop_length],
                    codebook_size=codec.card,
                )
                assert config.num_quantizers == codec.n_q
                per_codebook = math.log2(codec.card) * config.frame_rate
                counts = [math.floor(rate * 1000 / per_codebook) for rate in rates]
                released = [n for n in (2, 4, 8, 16, 32, 64) if n < codec.n_q]
                assert counts == [*(released if dropout else []), codec.n_q]


def test_options_left_out_are_those_of_transformers(tmp_path):
    model = EncodecModel(EncodecConfig(num_filters=2, hidden_size=4))
    model.save_pretrained(tmp_path)
    full = load_codec(tmp_path)
    defaults = ("target_bandwidths", "sampling_rate", "audio_channels", "upsampling_ratios",
                "norm_type", "use_causal_conv", "pad_mode", "codebook_size", "use_conv_shortcut",
                "codebook_dim", "num_lstm_layers", "trim_right_ratio", "normalize")  # fmt: skip
    edit(tmp_path, **dict.fromkeys(defaults, ...))
    assert load_codec(tmp_path).config == full.config


@pytest.mark.parametrize("names", ["old", "new"])
@pytest.mark.parametrize("file", ["model.safetensors", "pytorch_model.bin"])
def test_old_files_load_too(file, names, folder):
    codec = load_codec(folder)
    state = load_file(folder / "model.safetensors")
    if names == "old":
        for new, old in (("original0", "weight_g"), ("original1", "weight_v")):
            state = {k.replace(f"parametrizations.weight.{new}", old): t for k, t in state.items()}
        assert sum(name.endswith("weight_g") for name in state) > 5
    (folder / "model.safetensors").unlink()
    write = save_file if file.endswith("safetensors") else torch.save
    write(state, folder / file)
    assert_same_codec(load_codec(folder), codec)


def tiny_musicgen(kind, codec_config):
    """A whole random MusicGen of transformers around a codec."""
    decoder = {"vocab_size": 16, "hidden_size": 8, "num_hidden_layers": 1, "ffn_dim": 8,
               "num_attention_heads": 2, "num_codebooks": 4}  # fmt: skip
    text = T5Config(d_model=8, d_ff=8, d_kv=4, num_layers=1, num_heads=2, vocab_size=16)
    parts = {"text_encoder": text.to_dict(), "audio_encoder": codec_config.to_dict()}
    if kind == "musicgen":
        config = MusicgenConfig(**parts, decoder=decoder | {"model_type": "musicgen_decoder"})
        return MusicgenForConditionalGeneration(config)
    config = MusicgenMelodyConfig(
        **parts, decoder=decoder | {"model_type": "musicgen_melody_decoder"}
    )
    return MusicgenMelodyForConditionalGeneration(config)


@pytest.mark.parametrize("kind", ["musicgen", "musicgen_melody"])
@pytest.mark.parametrize("max_shard_size", ["5GB", "20KB"])
def test_the_codec_inside_a_musicgen_folder_loads(kind, max_shard_size, folder, tmp_path_factory):
    codec = load_codec(folder)
    whole = tiny_musicgen(kind, EncodecConfig.from_pretrained(folder))
    whole.audio_encoder.load_state_dict(codec.state_dict())
    saved = tmp_path_factory.mktemp(kind)
    whole.save_pretrained(saved, max_shard_size=max_shard_size)
    assert (len(list(saved.glob("*.safetensors"))) > 1) == (max_shard_size == "20KB")
    assert_same_codec(load_codec(saved), codec)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lstm": 1, "norm": "none"}, "knows weight and group norm"),
        ({"lstm": 1, "card": 24}, "wants a power of 2 as codebook size, not 24"),
        ({"lstm": 1, "channels": 3}, "takes 1 or 2 channels, not 3"),
        ({"lstm": 1, "chunk_overlap": 0.1}, "no chunk_overlap without chunk_duration"),
        ({"lstm": 1, "causal": True, "norm": "group"}, "exists only here"),
        ({"lstm": 1, "trim_right_ratio": 0.5}, "not causal exists only here"),
    ],
)
def test_what_transformers_cannot_hold_is_refused(options, said, tmp_path):
    with pytest.raises(UserError, match=said):
        save_transformers_codec(trained(**options), tmp_path / "new")
    assert not (tmp_path / "new").exists()


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"model_type": "dac"}, "describes model_type 'dac': only encodec"),
        ({"model_type": "musicgen"}, "describes model_type None: only encodec"),
        ({"model_type": "musicgen", "audio_encoder": {"model_type": "dac"}}, "model_type 'dac'"),
        ({"norm_type": "batch_norm"}, "norm_type is 'batch_norm'"),
        ({"norm_type": ["weight_norm"]}, "norm_type is"),
        ({"use_conv_shortcut": "no"}, "use_conv_shortcut is neither true nor false"),
        ({"codebook_dim": 4}, "codebook_dim is not hidden_size"),
        ({"target_bandwidths": []}, r"target_bandwidths is \[\], but should list kbit/s"),
        ({"target_bandwidths": [0.001]}, "but a codebook takes 400 bit/s"),
        ({"target_bandwidths": [float("nan")]}, "target_bandwidths"),
        ({"target_bandwidths": [1e300]}, "target_bandwidths"),
        ({"pad_mode": "circular"}, "unknown pad_mode 'circular'"),
        ({"num_filters": 0}, "num_filters is 0, but should be a whole number from 1"),
        ({"codebook_size": 1}, "a codebook takes 0 bit/s"),
        ({"upsampling_ratios": [4, -5]}, r"upsampling_ratios is \[4, -5\]"),
        ({"chunk_length_s": -1}, "chunk_length_s is -1"),
        ({"hidden_size": 16, "codebook_dim": 16}, "weights do not fit the config: size mismatch"),
        ({"musicgen_train": {"decay": "slow"}}, "decay is 'slow', but should be a number"),
    ],
)
def test_a_config_that_is_foreign_or_absurd_is_refused(changes, said, folder):
    edit(folder, **changes)
    with pytest.raises(UserError, match=said) as raised:
        load_codec(folder)
    assert "config.json" in str(raised.value) and "\n" not in str(raised.value)


@pytest.mark.parametrize("kept", [0, 100, -10])
def test_truncated_weights_are_named(kept, folder):
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:kept])
    with pytest.raises(UserError, match=r"model\.safetensors is truncated or corrupt"):
        load_codec(folder)


def test_missing_weights_are_named(folder):
    (folder / "model.safetensors").unlink()
    with pytest.raises(UserError, match=r"model\.safetensors is missing"):
        load_codec(folder)


def test_an_index_reads_no_file_outside_its_folder(folder, tmp_path_factory):
    outside = tmp_path_factory.mktemp("outside")
    (folder / "model.safetensors").rename(outside / "model.safetensors")
    index = {"weight_map": {"quantizer": str(outside / "model.safetensors")}}
    (folder / "model.safetensors.index.json").write_text(json.dumps(index))
    with pytest.raises(UserError, match="is missing: copy the whole checkpoint folder"):
        load_codec(folder)


def test_a_pickle_of_something_else_is_refused(folder):
    (folder / "model.safetensors").unlink()
    torch.save({"model": {}}, folder / "pytorch_model.bin")
    with pytest.raises(UserError, match="holds no flat mapping of tensors"):
        load_codec(folder)


def test_an_lstm_that_should_be_silent_but_sounds_is_refused(tmp_path):
    save_transformers_codec(trained(lstm=0), tmp_path)
    state = load_file(tmp_path / "model.safetensors")
    state["decoder.layers.1.lstm.bias_hh_l0"][0] = 1e-3
    save_file(state, tmp_path / "model.safetensors", metadata={"format": "pt"})
    with pytest.raises(UserError, match=r"should be silent, but decoder\.layers\.1\.lstm\.bias_hh"):
        load_codec(tmp_path)
