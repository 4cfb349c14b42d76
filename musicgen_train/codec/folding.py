"""Folding weight norm away: the same codec with plain convolutions, for inference."""

from typing import Any

import torch
from torch import nn
from torch.nn.utils.parametrize import is_parametrized

from musicgen_train.codec.encodec import Encodec


class FoldedEncodec(Encodec):
    """An `Encodec` whose weight norm is multiplied out: for inference, not for training or files.

    It maps audio to codes as the codec it was made from, so it keeps that one's identity.
    """

    def __init__(self, identity: str, **config: Any):
        super().__init__(**config)
        self._identity = identity

    def identity(self) -> str:
        return self._identity


def fold_weight_norm(codec: Encodec) -> Encodec:
    """The codec with every weight norm multiplied out: equal output, sooner.

    A codec without weight norm is returned as it is; otherwise the result shares no memory with
    the original, which stays as it was.
    """
    if codec.config["norm"] != "weight" or isinstance(codec, FoldedEncodec):
        return codec
    with torch.device("meta"):  # every tensor is assigned below
        folded = FoldedEncodec(codec.identity(), **{**codec.config, "norm": "none"})
    state = {k: v for k, v in codec.state_dict().items() if ".parametrizations." not in k}
    for name, module in codec.named_modules():
        if isinstance(module, nn.Conv1d | nn.ConvTranspose1d) and is_parametrized(module, "weight"):
            state[f"{name}.weight"] = module.weight
    folded.load_state_dict({k: v.detach().clone() for k, v in state.items()}, assign=True)
    return folded.eval().requires_grad_(False)
