"""The MS-STFT discriminator reproduces the reference implementation's numbers."""

from pathlib import Path

import torch
from safetensors.torch import load_file

from musicgen_train.training.discriminator import MultiScaleSTFTDiscriminator

GOLDEN = load_file(str(Path(__file__).parents[1] / "golden" / "losses.safetensors"))


def ours(name):
    """Our name of a reference weight."""
    name = name.replace(".conv.weight_g", ".parametrizations.weight.original0")
    name = name.replace(".conv.weight_v", ".parametrizations.weight.original1")
    return name.replace(".conv.weight", ".weight").replace(".conv.bias", ".bias")


def load_reference():
    state = {
        ours(key.removeprefix("state.")): tensor
        for key, tensor in GOLDEN.items()
        if key.startswith("state.") and not key.endswith("window")
    }
    discriminator = MultiScaleSTFTDiscriminator(filters=4)
    loaded = discriminator.load_state_dict(state, strict=False)
    assert not loaded.unexpected_keys
    assert all("window" in key for key in loaded.missing_keys)
    return discriminator


@torch.no_grad()
def test_logits_and_features_equal_the_reference():
    verdicts = load_reference()(GOLDEN["y"])
    for i, verdict in enumerate(verdicts):
        wanted = GOLDEN[f"disc.logits.{i}"]
        torch.testing.assert_close(verdict.logits, wanted, rtol=1e-4, atol=1e-5)
        for j, features in enumerate(verdict.features):
            mean = GOLDEN[f"disc.fmap_mean.{i}.{j}"]
            torch.testing.assert_close(features.mean()[None], mean, rtol=1e-4, atol=1e-5)
        assert len(verdict.features) == 5
    assert len(verdicts) == 5


@torch.no_grad()
def test_swapped_channels_are_another_signal():
    discriminator = MultiScaleSTFTDiscriminator(channels=2, filters=2, n_ffts=[64])
    wav = torch.randn(3, 2, 1000)
    logits, swapped = discriminator(wav)[0].logits, discriminator(wav.flip(1))[0].logits
    assert logits.shape == (3, 1, 59, 5)
    assert not torch.allclose(logits, swapped)
