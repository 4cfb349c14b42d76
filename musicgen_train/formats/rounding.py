"""Weights in half precision: what a file of half the size costs."""

import torch

from musicgen_train.formats.native import stored_as
from musicgen_train.formats.verification import probe
from musicgen_train.musicgen import MusicGen


@torch.no_grad()
def round_weights(model: MusicGen, dtype: str) -> str:
    """Give the language model the weights that a file of `dtype` holds; say what that changes."""
    inputs = probe(model.lm)
    before = inputs.logits(model.lm)
    for parameter in model.lm.parameters():
        parameter.copy_(stored_as(parameter, dtype))
    change = float((inputs.logits(model.lm) - before).abs().max() / before.abs().max())
    return f"{dtype}: rounding the weights changes logits by up to {change:.1e} of the largest"
