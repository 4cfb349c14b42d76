"""Matrix FLOPs of a call, counted by torch; LSTMs, which it leaves out, by their formula."""

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


def counted_flops(module: "nn.Module", call: Callable[[], Any]) -> int:
    """FLOPs of products and convolutions in a call of `module`; an addition counts as one."""
    import torch
    from torch import nn
    from torch.utils.flop_counter import FlopCounterMode

    recurrent = 0

    def count(lstm: nn.LSTM, inputs: Any, _: Any) -> None:
        nonlocal recurrent
        recurrent += inputs[0].shape[:2].numel() * lstm_flops(lstm)

    hooks = [m.register_forward_hook(count) for m in module.modules() if isinstance(m, nn.LSTM)]
    try:
        with torch.no_grad(), FlopCounterMode(display=False) as counter:
            call()
    finally:
        for hook in hooks:
            hook.remove()
    return recurrent + counter.get_total_flops()


def lstm_flops(lstm: "nn.LSTM") -> int:
    """FLOPs of one step: every weight matrix is multiplied once."""
    return 2 * sum(w.numel() for name, w in lstm.named_parameters() if name.startswith("weight"))
