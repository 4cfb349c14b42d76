"""The configured sizes are the published ones, with every conditioning."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from musicgen_train.formats.lm_layouts import to_layout, transformers_pieces
from musicgen_train.lm import LanguageModel

CONF = Path(__file__).parents[2] / "conf"
CONDITIONINGS = sorted(path.stem for path in (CONF / "conditioning").glob("*.yaml"))


SIZES = {"small": (1024, 24, 16), "medium": (1536, 48, 24), "large": (2048, 48, 32)}


def preset(size: str, conditioning: str, *overrides: str) -> LanguageModel:
    groups = [f"+model={size}", f"+conditioning={conditioning}", "+codec=tiny", *overrides]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=groups)
    with torch.device("meta"):
        return instantiate(config.model, _convert_="all")


@pytest.mark.parametrize(
    ("size", "conditioning", "millions"),
    [
        ("small", "text", 420),
        ("medium", "text", 1840),
        ("large", "text", 3250),
        ("medium", "melody", 1380),
        ("large", "melody", 2450),
    ],
)
def test_published_sizes_have_the_published_parameters(size, conditioning, millions):
    model = preset(size, conditioning, "codec.n_q=4", "codec.card=2048")
    count = sum(p.numel() for p in model.parameters()) / 1e6
    assert count == pytest.approx(millions, rel=0.01)


@pytest.mark.parametrize("codec", ["encodec_32khz", "encodec_32khz_stereo"])
@pytest.mark.parametrize(
    ("size", "conditioning"),
    [("small", "text"), ("medium", "text"), ("large", "text"), ("medium", "melody"),
     ("large", "melody")],
)  # fmt: skip
def test_published_models_have_the_published_tensors(size, conditioning, codec):
    """Name by name, shape by shape, as transformers builds the ten released models."""
    from transformers import MusicgenDecoderConfig, MusicgenForCausalLM
    from transformers import MusicgenMelodyDecoderConfig as MelodyConfig
    from transformers import MusicgenMelodyForCausalLM as Melody

    melody = conditioning == "melody"
    groups = [f"+model={size}", f"+conditioning={conditioning}", f"+codec={codec}"]
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=groups)
    dim, layers, heads = SIZES[size]
    with torch.device("meta"):
        lm = instantiate(config.model, _convert_="all")
        theirs = (Melody if melody else MusicgenForCausalLM)(
            (MelodyConfig if melody else MusicgenDecoderConfig)(
                vocab_size=2048, hidden_size=dim, num_hidden_layers=layers,
                num_attention_heads=heads, ffn_dim=4 * dim, num_codebooks=4 * config.codec.channels,
                audio_channels=config.codec.channels, pad_token_id=None, bos_token_id=None,
            )
        )  # fmt: skip
    stereo = config.codec.channels == 2
    assert lm.delays == ([0, 0, 1, 1, 2, 2, 3, 3] if stereo else [0, 1, 2, 3])
    ours = {
        name.removeprefix("decoder."): tensor.shape
        for name, tensor in to_layout(lm, transformers_pieces(lm)).items()
    }
    projections = {n: s for n, s in ours.items() if "enc_to_dec_proj" in n}
    assert projections.pop("enc_to_dec_proj.weight") == (dim, 768)
    if melody:
        assert projections.pop("audio_enc_to_dec_proj.weight") == (dim, 12)
    assert all(shape == (dim,) for shape in projections.values())
    decoder = {n: s for n, s in ours.items() if "enc_to_dec_proj" not in n}
    assert decoder == {name: tensor.shape for name, tensor in theirs.state_dict().items()}


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
@pytest.mark.parametrize("size", ["tiny", "demo"])
def test_a_preset_takes_the_codecs_shape(size, conditioning):
    model = preset(size, conditioning, "codec.n_q=3", "codec.card=77")
    assert (model.n_q, model.card, model.delays) == (3, 77, [0, 1, 2])


@pytest.mark.parametrize("conditioning", CONDITIONINGS)
def test_conditioners_give_what_the_model_takes(conditioning):
    with initialize_config_dir(str(CONF), version_base="1.3"):
        config = compose(overrides=[f"+conditioning={conditioning}", "+codec=tiny"])
    parts = instantiate(config.conditioning, _convert_="all")
    text_dim = parts["text_encoder"].dim if parts["text_encoder"] else None
    chroma_dim = parts["chroma"].n_chroma if parts["chroma"] else None
    assert (text_dim, chroma_dim) == (parts["text_dim"], parts["chroma_dim"])
