"""Codecs without an LSTM in transformers, which always has one: with zero weights it adds nothing.

An LSTM's output is then 0 at every step, and the skip connection around it passes the input on.
"""

import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.errors import UserError

_NAME = re.compile(r"(encoder|decoder)\.layers\.(\d+)\.(.+)")


def add_silent_lstm(state: dict[str, Tensor], config: dict[str, Any]) -> dict[str, Tensor]:
    """The state of an `Encodec` of this config as it would be with one LSTM layer of zeros."""
    places = _places(config)
    moved = _shift(state, places, by=1)
    dim = config["n_filters"] * 2 ** len(config["ratios"])
    lstm = torch.nn.LSTM(dim, dim, 1).state_dict()
    for net, place in places.items():
        for name, tensor in lstm.items():
            moved[f"{net}.layers.{place}.lstm.{name}"] = torch.zeros_like(tensor)
    return moved


def drop_silent_lstm(
    state: dict[str, Tensor], config: dict[str, Any], source: Path
) -> dict[str, Tensor]:
    """The state without the LSTM that `add_silent_lstm` put in; one that sounds is refused."""
    places = _places(config)
    kept = {}
    for name, tensor in state.items():
        if any(name.startswith(f"{net}.layers.{place}.lstm.") for net, place in places.items()):
            if tensor.any():
                raise UserError(f"{source}: the LSTM should be silent, but {name} is not 0")
        else:
            kept[name] = tensor
    return _shift(kept, places, by=-1)


def _places(config: dict[str, Any]) -> dict[str, int]:
    """Where the LSTM stands among the layers of encoder and decoder."""
    return {"encoder": 1 + len(config["ratios"]) * (config["n_residual_layers"] + 2), "decoder": 1}


def _shift(state: dict[str, Tensor], places: dict[str, int], by: int) -> dict[str, Tensor]:
    shifted = {}
    for name, tensor in state.items():
        match = _NAME.fullmatch(name)
        if match and int(match[2]) >= places[match[1]]:
            name = f"{match[1]}.layers.{int(match[2]) + by}.{match[3]}"
        shifted[name] = tensor
    return shifted
