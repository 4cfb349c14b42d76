"""PaSST has the published layout and computes what hear21passt 0.0.26 computes.

tests/golden/passt_tiny.safetensors was made with hear21passt's own classes: PaSST(img_size=(128,
105), patch_size=16, stride=10, embed_dim=24, depth=2, num_heads=3, num_classes=11, distilled=True)
after torch.manual_seed(0), with every parameter drawn anew as 0.3 * randn (0.02 for the patches,
1 + 0.3 * randn for the weights of the norms), and AugmentMelSTFT of hear21passt.base, both in eval
mode. "state.*" are the weights, "wav" an int16 clip (a rising tone, clicks, noise); "short" is its
first 9000 samples and "whole" all of it, with "mel" (every eighth frame), "logits", "features".
"""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor
from torch.nn import LayerNorm

from musicgen_train.evaluation.embedders.passt import Passt
from musicgen_train.evaluation.embedders.passt_features import PasstFeatures

GOLDEN = Path(__file__).parents[2] / "golden" / "passt_tiny.safetensors"
TINY = {"time_patches": 10, "dim": 24, "heads": 3, "layers": 2, "classes": 11}


def golden() -> tuple[Passt, dict[str, Tensor]]:
    tensors = load_file(GOLDEN)
    network = Passt(**TINY)
    prefix = "state."
    network.load_state_dict(
        {k.removeprefix(prefix): v for k, v in tensors.items() if k.startswith(prefix)}
    )
    return network.eval(), tensors


def published_layout(time_patches: int) -> dict[str, tuple[int, ...]]:
    """Names and shapes in the files of kkoutini/PaSST."""
    layout = {
        "cls_token": (1, 1, 768),
        "dist_token": (1, 1, 768),
        "new_pos_embed": (1, 2, 768),
        "freq_new_pos_embed": (1, 768, 12, 1),
        "time_new_pos_embed": (1, 768, 1, time_patches),
        "patch_embed.proj.weight": (768, 1, 16, 16),
        "patch_embed.proj.bias": (768,),
        "norm.weight": (768,),
        "norm.bias": (768,),
        "head.0.weight": (768,),
        "head.0.bias": (768,),
        "head.1.weight": (527, 768),
        "head.1.bias": (527,),
        "head_dist.weight": (527, 768),
        "head_dist.bias": (527,),
    }
    widths = {"attn.qkv": (2304, 768), "attn.proj": (768, 768), "mlp.fc1": (3072, 768)}
    widths |= {"mlp.fc2": (768, 3072), "norm1": (768,), "norm2": (768,)}
    for block in range(12):
        for name, shape in widths.items():
            layout[f"blocks.{block}.{name}.weight"] = shape
            layout[f"blocks.{block}.{name}.bias"] = shape[:1]
    return layout


@pytest.mark.parametrize(
    ("time_patches", "published_bytes"), [(99, 344665734), (200, 344975942), (300, 345283206)]
)
def test_the_weights_are_laid_out_as_published(time_patches, published_bytes):
    with torch.device("meta"):
        state = Passt(time_patches).state_dict()
    assert {k: tuple(v.shape) for k, v in state.items()} == published_layout(time_patches)
    # 159 tensors in float32, and the directory of a zip archive around them.
    assert len(state) == 159
    assert 0 < published_bytes - 4 * sum(v.numel() for v in state.values()) < 60000


def test_the_norms_differ_in_epsilon_as_upstream():
    epsilons = {k: m.eps for k, m in Passt(**TINY).named_modules() if isinstance(m, LayerNorm)}
    assert epsilons.pop("head.0") == 1e-5
    assert set(epsilons.values()) == {1e-6}


@pytest.mark.parametrize(("clip", "n_samples"), [("short", 9000), ("whole", 36800)])
def test_spectrogram_logits_and_features_are_those_of_hear21passt(clip, n_samples):
    network, tensors = golden()
    mel = PasstFeatures()(tensors["wav"][None, :n_samples].float() / 32768)
    assert torch.allclose(mel[0, :, ::8], tensors[f"{clip}.mel"], atol=1e-5)
    logits, features = network(mel)
    assert torch.allclose(logits[0], tensors[f"{clip}.logits"], atol=1e-4)
    assert torch.allclose(features[0], tensors[f"{clip}.features"], atol=1e-4)


def test_a_short_clip_takes_the_first_positions_in_time():
    network, tensors = golden()
    mel = PasstFeatures()(tensors["wav"][None, :9000].float() / 32768)  # two patches
    before, _ = network(mel)
    with torch.no_grad():
        network.time_new_pos_embed[..., 2:] += 1
        assert torch.equal(network(mel)[0], before)
        network.time_new_pos_embed[..., 1] += torch.linspace(-1, 1, 24)[:, None]
        assert not torch.allclose(network(mel)[0], before, atol=1e-3)


def test_more_time_than_positions_is_refused_instead_of_cut():
    network, _ = golden()
    with pytest.raises(AssertionError, match="11 patches for 10 positions"):
        network(torch.zeros(1, 128, 116))


def test_a_clip_is_heard_alike_alone_and_in_a_batch():
    network, tensors = golden()
    mel = PasstFeatures()(tensors["wav"].float().reshape(2, -1) / 32768)
    together, _ = network(mel)
    alone = torch.cat([network(mel[:1])[0], network(mel[1:])[0]])
    assert torch.allclose(together, alone, atol=1e-5)
    assert not torch.allclose(alone[0], alone[1], atol=1e-2)
