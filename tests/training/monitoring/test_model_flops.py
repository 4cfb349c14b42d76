"""FLOPs of a step are what torch counts, and GPUs are known by the names drivers give them."""

import pytest
import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.utils.flop_counter import FlopCounterMode

from musicgen_train.lm.model import LanguageModel
from musicgen_train.training.monitoring.model_flops import known_peaks, peak_flops, step_flops


@pytest.mark.plain("recompute", "cpu")
@pytest.mark.parametrize(
    ("fuse_text", "fuse_chroma"), [("cross", "sum"), ("prepend", "prepend"), ("cross", "cross")]
)
def test_flops_of_a_step_are_those_that_torch_counts(fuse_text, fuse_chroma):
    B, T, L, F = 3, 40, 7, 9
    lm = LanguageModel(
        n_q=4, card=32, dim=48, num_heads=4, num_layers=3, text_dim=24, chroma_dim=12,
        fuse_text=fuse_text, fuse_chroma=fuse_chroma, chroma_length=F, chroma_rate=0.2,
    )  # fmt: skip
    text = torch.randn(B, L, 24, requires_grad=True), torch.ones(B, L)
    chroma = torch.rand(B, F, 12)
    codes = torch.randint(32, (B, 4, T))
    # In plain matrix products: fused attention computes its scores again in the backward pass.
    with sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as counter:
        logits, _ = lm.logits(codes, text=text, chroma=chroma)
        logits.square().mean().backward()
    ours = step_flops(lm.config, B, T, L, F)
    assert ours == pytest.approx(counter.get_total_flops(), rel=0.01)


def test_without_conditions_only_the_music_counts():
    config = LanguageModel(n_q=2, card=16, dim=32, num_heads=2, num_layers=1).config
    layer = 4 * 32**2 + 2 * 4 * 32**2
    products = 10 * layer + 2 * 10**2 * 32 + 10 * 32 * 2 * 16
    assert step_flops(config, 5, 10, 99, 99) == 3 * 2 * 5 * products


@pytest.mark.parametrize(
    ("name", "half"),
    [
        ("NVIDIA A100-SXM4-80GB", 312),
        ("NVIDIA H100 80GB HBM3", 989.4),
        ("NVIDIA H100 PCIe", 756),
        ("NVIDIA H200", 989.4),
        ("NVIDIA L40S", 362),
        ("NVIDIA L4", 121),
        ("NVIDIA GeForce RTX 4090", 165.2),
        ("NVIDIA A10G", 70),
        ("Tesla V100-SXM2-32GB", 125),
        ("Tesla T4", 65),
    ],
)
def test_a_gpu_is_known_by_its_drivers_name(name, half):
    peaks = known_peaks(name)
    assert peaks is not None and peaks[0] == half


def test_what_is_not_known_has_no_peak():
    assert known_peaks("NVIDIA GeForce GTX 1080") is None
    assert peak_flops(torch.device("cpu"), "32-true") is None
