"""MERT in HuBERT's class: its published names of weights, its windows and its level."""

import json

import pytest
import torch
from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.embedders.mert import MertEmbedder, load_mert
from musicgen_train.evaluation.embedders.weights import MissingWeights

RATE = 24_000
SIZES = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 2,
         "intermediate_size": 48, "conv_dim": [8] * 7, "num_conv_pos_embeddings": 16,
         "num_conv_pos_embedding_groups": 4}  # fmt: skip
# What MERT's config.json holds beside HuBERT's.
EXTRAS = {"model_type": "mert_model", "architectures": ["MERTModel"], "sample_rate": RATE,
          "auto_map": {"AutoModel": "modeling_MERT.MERTModel"}, "feature_extractor_cqt": False,
          "feature_extractor_cqt_bins": 336, "deepnorm": False,
          "attention_relax": -1.0}  # fmt: skip


def small_model():
    torch.manual_seed(0)
    return HubertModel(HubertConfig(**SIZES)).eval()


def save_published(model, folder):
    """As on the hub: an old pickle with the names of torch's old weight_norm, and config.json."""
    state = {}
    for name, tensor in model.state_dict().items():
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            name = name.replace(f"parametrizations.weight.{new}", old)
        state[name] = tensor
    assert "encoder.pos_conv_embed.conv.weight_g" in state
    torch.save(state, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({**SIZES, **EXTRAS}))
    return folder


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return save_published(small_model(), tmp_path_factory.mktemp("mert"))


@pytest.fixture(scope="module")
def embedder(folder):
    return load_mert(folder, layer=3)


def sound(seconds, channels=1):
    generator = torch.Generator().manual_seed(0)
    return 0.1 * torch.randn(channels, int(seconds * RATE), generator=generator) + 0.05


def heard(embedder, wav, rate=RATE):
    return embedder.hear(embedder.prepare(wav, rate))["vectors"]


@pytest.mark.parametrize("layer", [0, 1, 3])
@torch.inference_mode()
def test_the_published_layout_gives_the_model_that_was_saved(folder, layer):
    wav = sound(2)
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)
    inputs = extractor(wav[0].numpy(), sampling_rate=RATE, return_tensors="pt").input_values
    states = small_model()(inputs, output_hidden_states=True).hidden_states
    assert len(states) == 4
    found = heard(load_mert(folder, layer=layer), wav)
    assert (found - states[layer].mean(1)).abs().max() < 1e-5


@pytest.mark.parametrize(
    ("seconds", "n_windows"), [(0, 1), (1e-3, 1), (3, 1), (10, 1), (10.5, 2), (20, 2), (26, 3)]
)
def test_there_is_a_finite_vector_for_each_window(embedder, seconds, n_windows):
    vectors = heard(embedder, sound(seconds))
    assert vectors.shape == (n_windows, 32) and vectors.isfinite().all()
    assert vectors.dtype == torch.float32


def test_the_last_window_ends_with_the_clip(embedder):
    prepared = embedder.prepare(sound(13), RATE)
    last = embedder.hear(prepared[-10 * RATE :])["vectors"]
    assert (embedder.hear(prepared)["vectors"][1:] - last).abs().max() < 1e-5


def test_the_level_does_not_count_and_silence_is_finite(embedder):
    wav = sound(2)
    assert (heard(embedder, 0.1 * wav) - heard(embedder, wav)).abs().max() < 1e-3
    assert heard(embedder, torch.zeros(2, RATE)).isfinite().all()


def test_bad_samples_count_as_zero(embedder):
    wav = sound(1, channels=2)
    wav[1, :50] = torch.tensor([float("nan"), float("inf")]).repeat(25)
    zeroed = wav.nan_to_num(0, 0, 0)
    assert torch.equal(heard(embedder, wav), heard(embedder, zeroed))


def test_the_record_tells_layer_and_hash(folder, embedder):
    other = load_mert(folder, layer=1)
    assert other.identity() != embedder.identity() == load_mert(folder, layer=3).identity()
    assert embedder.protocol()["layer"] == 3
    assert embedder.protocol()["weights_sha256"] == sha256_of(folder / "pytorch_model.bin")
    json.dumps(embedder.protocol())


def test_other_weights_sound_other(embedder):
    model = small_model()
    with torch.no_grad():
        model.encoder.layers[0].layer_norm.weight.add_(0.1)
    assert MertEmbedder(model, "file", "", layer=3).identity() != embedder.identity()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"feature_extractor_cqt": True}, "feature_extractor_cqt, which needs MERT's own code"),
        ({"deepnorm": True}, "deepnorm"),
        ({"sample_rate": 16_000}, "hears other than"),
        ({"model_type": "wav2vec2"}, "holds no MERT"),
        ({"num_hidden_layers": 2}, "unknown weight 'encoder.layers.2"),
        ({"num_hidden_layers": 4}, "lacks the weight encoder.layers.3"),
        ({"conv_stride": [5]}, "describes no MERT"),
    ],
)
def test_what_is_more_than_hubert_is_refused(folder, tmp_path, change, said):
    (tmp_path / "pytorch_model.bin").symlink_to(folder / "pytorch_model.bin")
    (tmp_path / "config.json").write_text(json.dumps({**SIZES, **EXTRAS, **change}))
    with pytest.raises(UserError, match=said):
        load_mert(tmp_path, layer=1)


def test_a_layer_that_is_not_there_is_refused(folder):
    with pytest.raises(UserError, match=r"layer 12: .* has layers 0 to 3"):
        load_mert(folder)


def test_without_weights_the_error_tells_which_file_to_get(monkeypatch, tmp_path):
    def refuse(*_, **__):
        raise OSError("no network")

    monkeypatch.setattr("urllib.request.urlopen", refuse)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with pytest.raises(MissingWeights, match=r"MERT-v1-95M/resolve/main/pytorch_model.bin"):
        load_mert()


def test_hubert_base_has_as_many_bytes_as_the_published_file():
    with torch.device("meta"):
        model = HubertModel(HubertConfig())
    n_bytes = 4 * sum(parameter.numel() for parameter in model.parameters())
    assert 0 < 377_552_987 - n_bytes < 100_000  # names and headers
