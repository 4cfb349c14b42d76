"""On a GPU in float32, codec and language model compute what the reference computed."""

import pytest
import torch

from tests.codec.test_golden import load
from tests.lm.test_lm_golden import folder_model, golden_model, melody_chroma

pytestmark = pytest.mark.gpu
CLOSE = {"rtol": 1e-3, "atol": 1e-4}  # sums are in another order than on a CPU


@pytest.mark.parametrize("name", ["codec_mono", "codec_causal"])
@torch.no_grad()
def test_the_codec_gives_the_references_codes_and_audio(name, device):
    codec, group = load(name)
    io = {key: tensor.to(device) for key, tensor in group("io").items()}
    codec.to(device)
    torch.testing.assert_close(codec.encoder(io["wav"]), io["latent"], **CLOSE)
    assert torch.equal(codec.encode(io["wav"]), io["codes"])
    torch.testing.assert_close(codec.decode(io["codes"]), io["recon"], **CLOSE)


@pytest.mark.parametrize("name", ["text", "melody"])
@torch.no_grad()
def test_the_model_gives_the_references_logits_and_greedy_tokens(name, device):
    model, io = golden_model(name)
    model.to(device)
    io = {key: tensor.to(device) for key, tensor in io.items()}
    text = (io["cond"], torch.ones(io["cond"].shape[:2], device=device))
    logits, mask = model.logits(io["codes"], text)
    assert torch.equal(mask, io["mask"])
    torch.testing.assert_close(logits, io["logits"], **CLOSE)
    for cfg_coef in (1, 3):
        codes = model.generate(12, text, cfg_coef=cfg_coef, greedy=True)
        assert torch.equal(codes, io[f"greedy_cfg{cfg_coef}"])


@pytest.mark.parametrize("name", ["text", "melody"])
@pytest.mark.parametrize("rows", [[1], [0, 1, 2]])
def test_a_published_folder_generates_the_references_tokens_in_any_batch(name, rows, device):
    model, io = folder_model(name)
    model.to(device)
    text = (io["text_embedding"][rows].to(device), io["text_mask"][rows].to(device))
    chroma = melody_chroma(io)[rows].to(device) if name == "melody" else None
    codes = model.generate(20, text, chroma, cfg_coef=3.0, greedy=True)
    assert torch.equal(codes[rows.index(1)].cpu(), io["greedy_row1_cfg3"][0])
