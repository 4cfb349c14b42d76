"""The language model computes what the reference implementation computes."""

import json
from pathlib import Path

import pytest
import torch
from safetensors import safe_open
from safetensors.torch import load_file

from musicgen_train.conditioning.chroma import ChromaExtractor, one_hot
from musicgen_train.formats import load_lm
from musicgen_train.formats.audiocraft_lm import lm_from_audiocraft
from musicgen_train.lm import LanguageModel
from musicgen_train.lm.delay import delay_codes, undelay

GOLDEN = Path(__file__).parents[1] / "golden"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}


def golden_model(name: str) -> tuple[LanguageModel, dict[str, torch.Tensor]]:
    path = GOLDEN / f"lm_{name}.safetensors"
    with safe_open(path, "pt") as file:
        config = json.loads(file.metadata()["config"])
    tensors = load_file(path)
    state = {k.removeprefix("state."): v for k, v in tensors.items() if k.startswith("state.")}
    # The golden conditions are already projected.
    projection = "condition_provider.conditioners.description.output_proj"
    state[f"{projection}.weight"] = torch.eye(config["dim"])
    state[f"{projection}.bias"] = torch.zeros(config["dim"])
    options = {key: config[key] for key in ("n_q", "card", "dim", "num_heads", "num_layers")}
    options |= {"delays": config["delays"], "ffn_mult": config["hidden_scale"]}
    options |= {"text_dim": config["dim"], "fuse_text": config["fuse"]}
    model = lm_from_audiocraft(options, state, path)
    return model, {k.removeprefix("io."): v for k, v in tensors.items() if "io." in k}


def folder_model(name: str) -> tuple[LanguageModel, dict[str, torch.Tensor]]:
    model = load_lm(GOLDEN / f"audiocraft_{name}")
    tensors = load_file(GOLDEN / f"audiocraft_{name}" / "io.safetensors")
    return model, {k.removeprefix("io."): v for k, v in tensors.items()}


def melody_chroma(io: dict[str, torch.Tensor]) -> torch.Tensor:
    return one_hot(ChromaExtractor(32000)(io["melody_wav"]))


def delay_patterns() -> list[dict]:
    """The golden interleavings that are delays (the others flatten the codebooks)."""
    rows = json.loads((GOLDEN / "patterns.json").read_text())
    for row in rows:
        if row["pattern"] == "DelayedPatternProvider":
            row["delays"] = row["args"].get("delays", list(range(row["n_q"])))
        elif row["pattern"] == "ParallelPatternProvider":
            row["delays"] = [0] * row["n_q"]
    return [row for row in rows if "delays" in row]


@pytest.mark.parametrize("row", delay_patterns())
def test_delays_equal_the_reference_patterns(row):
    codes = torch.tensor([row["codes"]])
    delayed = delay_codes(codes, row["delays"], fill=row["special"])
    expected = torch.tensor(row["sequence"])
    assert torch.equal(delayed[0], expected[:, 1:])  # the reference's has the start step
    assert torch.equal(delayed[0] != row["special"], torch.tensor(row["valid"])[:, 1:])
    assert torch.equal(undelay(delayed, row["delays"]), codes)


@pytest.mark.parametrize("name", ["text", "melody"])
def test_forward_equals_the_reference(name):
    model, io = golden_model(name)
    text = (io["cond"], torch.ones(io["cond"].shape[:2]))
    with torch.no_grad():
        logits, mask = model.logits(io["codes"], text)
        logits_full, mask_full = model.logits(io["codes"], text, full=True)
        sequence_logits = model(io["sequence_full"], text)
    assert torch.equal(mask, io["mask"])
    assert torch.equal(mask_full, io["mask_full"])
    torch.testing.assert_close(logits, io["logits"], **CLOSE)
    torch.testing.assert_close(logits_full, io["logits_full"], **CLOSE)
    torch.testing.assert_close(sequence_logits, io["sequence_logits"], **CLOSE)


@pytest.mark.parametrize("name", ["text", "melody"])
def test_greedy_generation_equals_the_reference(name):
    model, io = golden_model(name)
    text = (io["cond"], torch.ones(io["cond"].shape[:2]))
    for cfg_coef in (1, 3):
        codes = model.generate(12, text, cfg_coef=cfg_coef, greedy=True)
        assert torch.equal(codes, io[f"greedy_cfg{cfg_coef}"])
    codes = model.generate(12, text, prompt=io["prompt"], cfg_coef=3.0, greedy=True)
    assert torch.equal(codes, io["greedy_prompt4_cfg3"])


@pytest.mark.parametrize("name", ["text", "melody"])
def test_published_folder_equals_the_reference_row_by_row(name):
    model, io = folder_model(name)
    text = (io["text_embedding"], io["text_mask"])
    chroma = melody_chroma(io) if name == "melody" else None
    with torch.no_grad():
        logits, mask = model.logits(io["codes"], text, chroma)
    assert torch.equal(mask, io["mask"])
    # Row 0 is the longest; row 1 is disturbed by padding in the reference, so its golden is alone.
    torch.testing.assert_close(logits[0], io["logits"][0], **CLOSE)
    torch.testing.assert_close(logits[1], io["logits_row1_alone"][0], **CLOSE)


@pytest.mark.parametrize("name", ["text", "melody"])
@pytest.mark.parametrize("rows", [[1], [0, 1, 2]])
def test_published_folder_generates_the_reference_tokens_in_any_batch(name, rows):
    model, io = folder_model(name)
    text = (io["text_embedding"][rows], io["text_mask"][rows])
    chroma = melody_chroma(io)[rows] if name == "melody" else None
    codes = model.generate(20, text, chroma, cfg_coef=3.0, greedy=True)
    assert torch.equal(codes[rows.index(1)], io["greedy_row1_cfg3"][0])


def test_projected_conditions_equal_the_reference():
    model, io = folder_model("melody")
    fused = model.fuser(3, (io["text_embedding"], io["text_mask"]), melody_chroma(io))
    expected = torch.cat([io["cond.self_wav"], io["cond.description"]], dim=1)[0]
    torch.testing.assert_close(fused.prefix[0], expected, **CLOSE)
