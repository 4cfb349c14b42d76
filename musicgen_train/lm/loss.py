"""Cross entropy of all codebooks without the logits of all steps at once.

The logits of MusicGen's four codebooks take as much memory as many layers: eight clips of 30 s have
12 000 steps of 8 192 logits, 393 MB in float32, held several times over. Here a few steps at a time
go through the head, and their gradient is computed at once, so that nothing of them has to be kept.
(`torch.nn.functional.linear_cross_entropy` is newer than the oldest torch that is supported, and
computes in the type of its input, not in autocast's.)
"""

from typing import Any

import torch
from torch import Tensor
from torch.autograd import Function
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from musicgen_train.lm.autocast import product_dtype
from musicgen_train.lm.products import by_onednn

IGNORED = -100  # a target that is not predicted


def chunked_cross_entropy(
    hidden: Tensor, weight: Tensor, targets: Tensor, scales: Tensor, chunk: int
) -> tuple[Tensor, Tensor]:
    """The sum over codebooks of scale times cross entropy, and its parts: scalar, [K] nats.

    hidden [B, S, D], weight [K * card, D], targets [B, K, S] (`IGNORED`: not counted), scales [K].
    `chunk` steps go through the head at once. Only the scalar has a gradient. The products are in
    autocast's type, all else is in float32.
    """
    rows = targets.transpose(1, 2).flatten(0, 1)
    wanted = torch.is_grad_enabled() and (hidden.requires_grad or weight.requires_grad)
    flat, dtype = hidden.flatten(0, 1), product_dtype(hidden)
    return _ChunkedCrossEntropy.apply(flat, weight, rows, scales, chunk, dtype, wanted)  # type: ignore[return-value]


class _ChunkedCrossEntropy(Function):
    """hidden [N, D], weight [K * card, D], targets [N, K], scales [K] -> scalar, [K]."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: Tensor,
        weight: Tensor,
        targets: Tensor,
        scales: Tensor,
        chunk: int,
        dtype: torch.dtype,
        wanted: bool,
    ) -> tuple[Tensor, Tensor]:
        with torch.autocast(hidden.device.type, enabled=False), by_onednn(hidden):
            head = weight.to(dtype)
            sums = torch.zeros(len(scales), device=hidden.device)
            ours = torch.empty_like(hidden) if wanted else None
            theirs = torch.zeros_like(weight, dtype=torch.float32) if wanted else None
            # Of about 1, so that half precision holds the gradient; the rest is multiplied last.
            relative = scales / scales.max()
            for begin in range(0, len(hidden), chunk):
                part = slice(begin, begin + chunk)
                x, t = hidden[part].to(dtype), targets[part]
                logits = (x @ head.T).unflatten(-1, (len(scales), -1)).float()
                logs = F.log_softmax(logits, -1)
                sums -= _chosen(logs, t).sum(0)
                if ours is not None and theirs is not None:
                    grad = _gradient(logs, t, relative).to(dtype).flatten(1)
                    ours[part] = grad @ head
                    theirs += grad.T @ x
        if ours is not None and theirs is not None:
            ctx.save_for_backward(ours, theirs, scales.max())
            ctx.weight_dtype = weight.dtype
        ctx.mark_non_differentiable(sums)
        return (sums * scales).sum(), sums

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, *grads: Tensor) -> tuple[Tensor | None, ...]:  # type: ignore[override]
        ours, theirs, largest = ctx.saved_tensors
        factor = grads[0] * largest
        to_hidden = (ours * factor).to(ours.dtype)
        to_weight = (theirs * factor).to(ctx.weight_dtype)
        return to_hidden, to_weight, None, None, None, None, None


def _chosen(logs: Tensor, targets: Tensor) -> Tensor:
    """Log probabilities [n, K] of the targets; 0 where there is none."""
    counted = targets != IGNORED
    found = logs.gather(-1, targets.clamp_min(0)[..., None])[..., 0]
    return found * counted


def _gradient(logs: Tensor, targets: Tensor, scales: Tensor) -> Tensor:
    """Of the scaled cross entropy by the logits: [n, K, card], in the place of the logs."""
    grad = logs.exp_()
    counted = (targets != IGNORED)[..., None]
    grad.scatter_add_(-1, targets.clamp_min(0)[..., None], -counted.to(grad.dtype))
    return grad.mul_(counted * scales[:, None])
