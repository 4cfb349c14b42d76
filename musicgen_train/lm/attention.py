"""The kernels of attention: torch's, xformers' memory-efficient one, and blocks for CPUs."""

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn import functional as F

from musicgen_train.errors import UserError, reason_of
from musicgen_train.lm.block_attention import LONGEST, block_attention

# q [B, H, S, E], k and v [B, H, L, E], a mask (True where seen) or causal, dropout's probability.
Attend = Callable[[Tensor, Tensor, Tensor, Tensor | None, bool, float], Tensor]


def sdpa(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout_p: float
) -> Tensor:
    """torch's attention, by whichever kernel suits: [B, H, S, E]."""
    return F.scaled_dot_product_attention(q, k, v, mask, dropout_p=dropout_p, is_causal=causal)


def blocks(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout_p: float
) -> Tensor:
    """Of a short past, in training, by blocks (block_attention.py); else torch's: [B, H, S, E]."""
    trained = torch.is_grad_enabled() and (q.requires_grad or k.requires_grad or v.requires_grad)
    short = q.shape == k.shape and q.shape[2] <= LONGEST
    if trained and causal and short and not dropout_p:
        return block_attention(q, k, v)
    return sdpa(q, k, v, mask, causal, dropout_p)


def xformers(
    q: Tensor, k: Tensor, v: Tensor, mask: Tensor | None, causal: bool, dropout_p: float
) -> Tensor:
    """xformers' attention: [B, H, S, E]."""
    from xformers.ops import (  # type: ignore[import-not-found]
        LowerTriangularMask,
        memory_efficient_attention,
    )

    bias = LowerTriangularMask() if causal else None
    if mask is not None:
        # Added to the scores; the kernels read rows of a multiple of eight.
        shape = (*q.shape[:3], -(-k.shape[2] // 8) * 8)
        bias = q.new_zeros(shape)[..., : k.shape[2]]
        bias.masked_fill_(~mask, float("-inf"))
    # Its layout is [B, S, H, E].
    ours = (x.transpose(1, 2).contiguous() for x in (q, k, v))
    return memory_efficient_attention(*ours, attn_bias=bias, p=dropout_p).transpose(1, 2)


def kernel(name: str, device: torch.device) -> Attend:
    """The kernel of a name, tried on the device; UserError if it does not run there.

    auto is the fastest that needs nothing installed: cpu, which is blocks, on a CPU, else sdpa.
    """
    if name == "auto":
        name = "cpu" if device.type == "cpu" else "sdpa"
    if name in ("sdpa", "cpu"):
        return sdpa if name == "sdpa" else blocks
    if name != "xformers":
        raise UserError(f"attention is {name!r}: use auto, sdpa, cpu or xformers")
    try:
        x = torch.zeros(1, 1, 8, 8, device=device)
        xformers(x, x, x, None, True, 0.0)
    except Exception as error:  # of an import, a missing operator, a driver
        raise UserError(
            f"attention=xformers does not run on {device} ({reason_of(error)}): install an "
            "xformers built for this torch (pip install 'musicgen_train[xformers]'), or use auto"
        ) from None
    return xformers
