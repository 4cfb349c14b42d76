"""What is done to a plain language model, from outside, before it is trained.

None of it changes the names of its weights. In order: attention and 8-bit products inside the
layers, recomputation around a layer, the compiler around that, sharding (sharding.py) around all.
"""

from functools import partial

import torch
from torch import nn
from torch.utils.checkpoint import checkpoint

from musicgen_train.errors import UserError, reason_of
from musicgen_train.lm.attention import blocks, kernel
from musicgen_train.lm.model import LanguageModel
from musicgen_train.lm.transformer import CrossAttention, SelfAttention

HOPPER = (9, 0)  # compute capability; the first GPUs whose 8-bit products pay


def use_attention(lm: LanguageModel, name: str, device: torch.device) -> None:
    """Let every attention run on the kernel of a name: auto, sdpa, cpu or xformers.

    With that for CPUs, attention to few tokens absorbs its projections too.
    """
    attend = kernel(name, device)
    for module in lm.modules():
        if isinstance(module, SelfAttention | CrossAttention):
            module.attend = attend
        if isinstance(module, CrossAttention):
            module.absorb = attend is blocks


def check_float8(device: torch.device) -> None:
    """Refuse a device without 8-bit products."""
    if device.type != "cuda" or torch.cuda.get_device_capability(device) < HOPPER:
        raise UserError(f"task.float8 needs a Hopper GPU or later, not {device}: leave it out")


def use_float8(lm: LanguageModel, *, emulate: bool = False) -> None:
    """Let the layers' matrices multiply in 8 bits, scaled tensor by tensor (torchao).

    emulate: the same numbers on devices without such products, slowly.
    """
    try:
        from torchao.float8 import (  # type: ignore[import-not-found]
            Float8LinearConfig,
            convert_to_float8_training,
        )
    except ImportError as error:
        raise UserError(
            f"task.float8 needs torchao ({reason_of(error)}): pip install 'musicgen_train[torchao]'"
        ) from None
    # The kernels want multiples of 16.
    convert_to_float8_training(
        lm.layers,
        config=Float8LinearConfig(emulate=emulate),
        module_filter_fn=lambda module, _: (
            isinstance(module, nn.Linear) and not any(size % 16 for size in module.weight.shape)
        ),
    )


def compile_layers(lm: LanguageModel) -> None:
    """Compile the layers one by one: they are alike, so that one compilation serves all."""
    for layer in lm.layers:
        layer.forward = torch.compile(layer.forward)


def recompute_layers(lm: LanguageModel) -> None:
    """Keep nothing of a layer for the backward pass but its input, and compute the rest again.

    Dropout draws the same again.
    """
    for layer in lm.layers:
        layer.forward = partial(checkpoint, layer.forward, use_reentrant=False)
