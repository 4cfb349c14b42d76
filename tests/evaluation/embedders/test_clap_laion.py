"""LAION's checkpoints become ClapModels that hear and read the same."""

import hashlib

import numpy as np
import pytest
import torch
from transformers import ClapModel

from musicgen_train.errors import UserError
from musicgen_train.evaluation.embedders.clap_laion import (
    MADE,
    laion_config,
    load_laion,
    to_transformers,
)
from tests.evaluation.embedders.small_clap import clap_config, laion_layout, save_laion, small_clap

# Of the lines "name [shape]" of laion_clap 1.1.7's HTSAT-base, sorted: 504 of them.
PUBLISHED_BASE = "69c4015c62764d425befbf9004e39141febee880653111bdd6bd7a338b359ba0"


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_laion(
        small_clap(),
        tmp_path_factory.mktemp("laion") / "clap.pt",
        best=np.float64(0.9),
        optimizer={"state": {0: {"exp_avg": torch.zeros(3), "step": 7}}},
    )


@pytest.fixture(scope="module")
def base():
    """HTSAT-base and RoBERTa-base without their numbers."""
    with torch.device("meta"):
        config = clap_config(128, (2, 2, 12, 2), {})
        model = ClapModel(config)
        return model, laion_layout(model)


@torch.inference_mode()
def test_both_sides_say_the_same_after_the_round_trip(checkpoint):
    before, after = small_clap(), load_laion(checkpoint).eval()
    mel = 10 * torch.randn(2, 1, 1001, 64) - 30
    tokens = torch.tensor([[0, 5, 6, 2, 1], [0, 7, 2, 1, 1]])
    heard = [m.get_audio_features(input_features=mel).pooler_output for m in (before, after)]
    said = [
        m.get_text_features(input_ids=tokens, attention_mask=tokens != 1).pooler_output
        for m in (before, after)
    ]
    assert torch.equal(*heard) and torch.equal(*said)
    assert (said[0][0] - said[0][1]).abs().max() > 1e-3


def test_sizes_are_read_from_the_shapes(checkpoint):
    found, made = load_laion(checkpoint).config, clap_config()
    for name in ("patch_embeds_hidden_size", "depths", "num_attention_heads", "window_size",
                 "hidden_size", "patch_stride", "num_mel_bins", "projection_dim"):  # fmt: skip
        assert list(np.atleast_1d(getattr(found.audio_config, name))) == list(
            np.atleast_1d(getattr(made.audio_config, name))
        ), name
    assert found.text_config.to_diff_dict() == made.text_config.to_diff_dict()


def test_the_layout_of_htsat_base_is_the_published_one(base):
    lines = sorted(f"{name} {list(tensor.shape)}" for name, tensor in base[1].items())
    assert len(lines) == 504
    assert hashlib.sha256("\n".join(lines).encode()).hexdigest() == PUBLISHED_BASE


def test_every_weight_of_htsat_base_finds_its_place(base, tmp_path):
    model, state = base
    config = laion_config(state, tmp_path)
    assert (config.audio_config.depths, config.audio_config.hidden_size) == ([2, 2, 12, 2], 1024)
    assert (config.text_config.num_attention_heads, config.text_config.layer_norm_eps) == (12, 1e-5)
    wanted = {n: t.shape for n, t in model.state_dict().items() if not MADE.match(n)}
    assert {name: tensor.shape for name, tensor in to_transformers(state).items()} == wanted


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda s: s.pop("text_branch.pooler.dense.bias"), "lacks the weight text_model.pooler"),
        (lambda s: s.update(extra=torch.zeros(1)), "unknown weight 'extra'"),
        (
            lambda s: s.update({"audio_branch.norm.bias": torch.zeros(3)}),
            "another shape of audio_model.audio_encoder.norm.bias",
        ),
        (
            lambda s: s.update({"audio_branch.patch_embed.mel_conv2d.bias": torch.zeros(3)}),
            "with fusion",
        ),
        (lambda s: s.pop("audio_branch.patch_embed.proj.weight"), "no CLAP with HTSAT"),
        (lambda s: s.pop("audio_branch.bn0.weight"), "lacks"),
        (lambda s: s.update(name="x"), "no weights by name"),
    ],
)
def test_what_does_not_fit_is_named(change, said, tmp_path):
    state = laion_layout(small_clap())
    change(state)
    torch.save(state, tmp_path / "clap.pt")
    with pytest.raises(UserError, match=said) as raised:
        load_laion(tmp_path / "clap.pt")
    assert str(tmp_path) in str(raised.value) and "\n" not in str(raised.value)
