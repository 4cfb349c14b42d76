"""Causal attention of short sequences, for training on a CPU: a block of queries at a time.

torch's CPU kernel also multiplies what a causal mask hides, and computes the probabilities again in
the backward pass. Here a block multiplies its own past alone, and its probabilities are kept: of a
short sequence they take less than what the MLP keeps.
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable

BLOCK = 64  # queries; shorter ones skip more of the future, longer ones multiply faster
LONGEST = 512  # steps, until which this is faster and the probabilities are few


def block_attention(q: Tensor, k: Tensor, v: Tensor) -> Tensor:
    """Attention of each step to itself and those before: [B, H, S, E] three times -> the same.

    Computed in float32, of whatever type the sequences are.
    """
    return _BlockAttention.apply(q, k, v)  # type: ignore[return-value]


class _BlockAttention(Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        with torch.autocast(q.device.type, enabled=False):
            ctx.shape, ctx.scale = q.shape, q.shape[-1] ** -0.5
            q_rows, k_rows, v_rows = _rows(q) * ctx.scale, _rows(k), _rows(v)
            out, kept = torch.empty_like(q_rows), []
            for part, past in _blocks(q.shape[2]):
                scores = q_rows[:, part] @ k_rows[:, past].mT
                scores[..., part] += scores.new_full(scores.shape[1:2] * 2, -torch.inf).triu_(1)
                kept.append(torch.softmax(scores, -1, out=scores))
                out[:, part] = kept[-1] @ v_rows[:, past]
        ctx.save_for_backward(q_rows, k_rows, v_rows, out, *kept)
        return out.view(ctx.shape).to(q.dtype)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor, ...]:  # type: ignore[override]
        q, k, v, out, *kept = ctx.saved_tensors
        grad = _rows(grads[0])
        to_q, to_k, to_v = torch.empty_like(q), torch.zeros_like(k), torch.zeros_like(v)
        # The softmax's gradient: p * (to_p - sum(to_p * p)), whose sum is that of grad * out.
        sums = (grad * out).sum(-1, keepdim=True)
        with torch.autocast(grad.device.type, enabled=False):
            for (part, past), p in zip(_blocks(q.shape[1]), kept, strict=True):
                to_v[:, past].baddbmm_(p.mT, grad[:, part])
                to_scores = grad[:, part] @ v[:, past].mT
                to_scores.sub_(sums[:, part]).mul_(p)
                to_q[:, part] = to_scores @ k[:, past]
                to_k[:, past].baddbmm_(to_scores.mT, q[:, part])
        found = to_q.mul_(ctx.scale), to_k, to_v
        return tuple(x.view(ctx.shape).to(grads[0].dtype) for x in found)


def _rows(x: Tensor) -> Tensor:
    """[B, H, S, E] of any type -> float32 [B * H, S, E], contiguous."""
    return x.flatten(0, 1).float().contiguous()


def _blocks(length: int) -> list[tuple[slice, slice]]:
    """Blocks of queries, each with what it may see: all up to its own end."""
    ends = [min(begin + BLOCK, length) for begin in range(0, length, BLOCK)]
    return [(slice(n * BLOCK, end), slice(0, end)) for n, end in enumerate(ends)]
