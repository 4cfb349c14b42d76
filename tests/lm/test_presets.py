"""The configured sizes are the published ones, with every conditioning."""

from pathlib import Path

import pytest
import torch
from hydra import compose, initialize_config_dir
from hydra.utils import instantiate

from musicgen_train.lm import LanguageModel

CONF = Path(__file__).parents[2] / "conf"
CONDITIONINGS = sorted(path.stem for path in (CONF / "conditioning").glob("*.yaml"))


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
