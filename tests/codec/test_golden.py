"""EnCodec reproduces the numbers that the reference implementation computed."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open

from musicgen_train.codec.encodec import Encodec
from musicgen_train.formats.audiocraft_codec import codec_state_from_audiocraft

GOLDEN = Path(__file__).parents[1] / "golden"


def load(name):
    with safe_open(str(GOLDEN / f"{name}.safetensors"), "pt") as file:
        config = json.loads(file.metadata()["config"])
        tensors = {key: file.get_tensor(key) for key in file.keys()}  # noqa: SIM118

    def group(prefix):
        start = len(prefix) + 1
        return {k[start:]: v for k, v in tensors.items() if k.startswith(prefix + ".")}

    codec = Encodec(
        sample_rate=config["sample_rate"],
        channels=config["channels"],
        n_q=config["n_q"],
        card=config["bins"],
        ratios=config["ratios"],
        n_filters=config["n_filters"],
        dimension=config["dimension"],
        lstm=config["lstm"],
        causal=config["causal"],
        decay=config["ema_decay"],
        dead_code_threshold=config["dead_code_threshold"],
    )
    codec.load_state_dict(codec_state_from_audiocraft(group("state")))
    return codec.eval(), group


def assert_close(actual, expected):
    torch.testing.assert_close(actual, expected, rtol=1e-4, atol=1e-5)


@pytest.fixture(params=["codec_mono", "codec_causal"])
def golden(request):
    return load(request.param)


@torch.no_grad()
def test_latents_codes_and_reconstruction_equal_the_reference(golden):
    codec, group = golden
    io = group("io")
    assert_close(codec.encoder(io["wav"]), io["latent"])
    assert torch.equal(codec.encode(io["wav"]), io["codes"])
    assert_close(codec.quantizer.decode(io["codes"]), io["quantized"])
    assert_close(codec.decode(io["codes"]), io["recon"])


def test_a_training_step_moves_the_codebooks_as_the_reference_does(golden):
    codec, group = golden
    step, after = group("train_step"), group("state_after")
    codec.quantizer.train()
    latents, codes, commitment = codec.quantizer(group("io")["latent"].requires_grad_())
    assert_close(latents, step["quantized"])
    assert torch.equal(codes, step["codes"])
    assert_close(commitment, step["penalty"])
    for name, expected in after.items():
        ours = codec_state_from_audiocraft({f"quantizer.{name}": expected})
        (key,) = ours
        assert_close(codec.state_dict()[key], expected)
