"""Each `--fast-path` is really taken, and gives what the plain path gives."""

import subprocess
import sys
from pathlib import Path

import pytest

from tests.fast_paths import FAST_PATHS

ROOT = Path(__file__).parents[1]
TAKEN = {
    "recompute": "musicgen_train.training.transforms.checkpoint",
    "chunks": "musicgen_train.lm.loss._gradient",
    "xformers": "musicgen_train.lm.attention.xformers",
    "cpu": "musicgen_train.lm.attention.block_attention",
    "packed": "musicgen_train.lm.packing.multiply",
    "folded": "musicgen_train.codec.folding.FoldedEncodec",
}
SCRIPT = """
import sys, torch
from unittest import mock
from tests.fast_paths import FAST_PATHS
if sys.argv[1] != "plain":
    spy = mock.patch(sys.argv[2], wraps=__import__("pkgutil").resolve_name(sys.argv[2]))
    calls = spy.start() if sys.argv[1] != "folded" else None
    FAST_PATHS[sys.argv[1]]()
from tests.small_musicgen import tiny
music = tiny()
wav = music.generate(["calm piano"], seeds=[1])
codes = torch.arange(40).view(1, 2, 20) % 16
lm = music.lm.train()
text = torch.ones(1, 3, 8), torch.ones(1, 3)
loss, _ = lm.loss(codes, torch.tensor([20]), torch.full((2,), 0.02), text)
loss.backward()
grad = lm.layers[0].ffn.up.weight.grad
if sys.argv[1] not in ("plain", "folded"):
    assert calls.call_count > (sys.argv[1] not in ("recompute", "cpu")), "was not taken"
print(float(loss), float(wav.square().sum()), float(grad.norm()))
"""


def numbers(name: str) -> list[float]:
    done = subprocess.run(
        [sys.executable, "-c", SCRIPT, name, TAKEN.get(name, "")],
        cwd=ROOT, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    return [float(word) for word in done.stdout.split()]


@pytest.fixture(scope="module")
def plain() -> list[float]:
    return numbers("plain")


@pytest.mark.parametrize("name", FAST_PATHS)
def test_a_forced_path_is_taken_and_gives_the_same(name, plain):
    assert numbers(name) == pytest.approx(plain, rel=1e-4)
