"""Floating-point operations of products and convolutions, counted while they run."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from musicgen_train.lm.model import LanguageModel


def counted_flops(call: Callable[[], Any], *holders: Any) -> int:
    """What torch counts of a call's products and convolutions, and LSTMs of modules in `holders`.

    torch does not count LSTMs. Weight norm must be folded: its counting does not see through it.
    Attention runs as plain products, which are what there is to count.
    """
    import torch
    from torch import nn
    from torch.nn.attention import SDPBackend, sdpa_kernel
    from torch.utils.flop_counter import FlopCounterMode

    recurrent = 0

    def count(lstm: Any, inputs: Any) -> None:
        nonlocal recurrent
        n_rows = inputs[0].numel() // inputs[0].shape[-1]  # time steps of all items
        recurrent += sum(2 * n_rows * w.numel() for w in lstm.parameters() if w.ndim == 2)

    modules = [holder for holder in holders if isinstance(holder, nn.Module)]
    lstms = [m for module in modules for m in module.modules() if isinstance(m, nn.LSTM)]
    hooks = [lstm.register_forward_pre_hook(count) for lstm in lstms]
    try:
        with torch.no_grad(), sdpa_kernel(SDPBackend.MATH), FlopCounterMode(display=False) as mode:
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return mode.get_total_flops() + recurrent


def training_flops(lm: "LanguageModel", batch_size: int, n_frames: int, text_length: int) -> int:
    """Of a forward and backward pass of a model for texts whose encoder is frozen.

    Matrix products only, each layer once (recomputation is no progress), attention as if nothing
    were hidden from it. It is exactly what torch counts of plain products.
    """
    from musicgen_train.training.monitoring.model_flops import step_flops

    config = lm.config
    unasked = 2 * batch_size * text_length * config["dim"] * config["text_dim"]
    return step_flops(config, batch_size, n_frames, text_length, 0) - unasked


def step_cost(lm: "LanguageModel", rows: int, visible: int, text_length: int) -> tuple[int, int]:
    """Of one step of generation with a cache: operations, and the matrix weights it reads.

    rows: pieces of music times branches of guidance. visible: steps that attention looks at.
    """
    layers: Any = lm.layers
    weights = sum(p.numel() for p in layers.parameters() if p.ndim == 2)
    # A text's keys and values are computed once, before the first step.
    weights += lm.heads.weight.numel()
    weights -= sum(layer.cross_attn.kv.weight.numel() for layer in layers)
    attention = 2 * lm.dim * (visible + text_length) * len(layers)
    return 2 * rows * (weights + attention), weights
