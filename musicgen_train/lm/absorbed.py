"""Cross-attention to few tokens, its two projections absorbed into their keys and values.

softmax(x Wq^T k^T) v Wo^T = softmax(x (k Wq)^T) (v Wo^T): every step is multiplied with one vector
for each head and token, instead of with two whole matrices. (Matrices of keys and values are
absorbed likewise in DeepSeek-V2, arXiv 2405.04434, section 2.1.2.)
"""

import torch
from torch import Tensor
from torch.nn import functional as F


def pays(n_steps: int, n_tokens: int, dim: int, num_heads: int) -> bool:
    """Whether it takes fewer operations, the absorbing of the matrices included."""
    return n_tokens * (n_steps * (num_heads - 1) + dim) < n_steps * dim


def absorbed_attention(
    x: Tensor, k: Tensor, v: Tensor, mask: Tensor, to_q: Tensor, to_out: Tensor
) -> Tensor:
    """x [B, S, D], k and v [B, H, L, E], mask [B, 1, 1, L], to_q and to_out [D, D] -> [B, S, D]."""
    B, H, L, E = k.shape
    # The matrices by heads: one reads E rows of to_q, and E columns of to_out.
    keys = _by_heads(k * E**-0.5, to_q.view(H, E, -1))
    values = _by_heads(v, to_out.view(-1, H, E).permute(1, 2, 0))
    scores = (x @ keys.mT).view(B, -1, H, L)
    scores = scores.masked_fill(~mask, -torch.inf)
    return F.softmax(scores, -1).flatten(2) @ values


def _by_heads(tokens: Tensor, matrices: Tensor) -> Tensor:
    """[B, H, L, E] times [H, E, D] -> [B, H * L, D]."""
    B, _, L, _ = tokens.shape
    rows = tokens.permute(1, 0, 2, 3).flatten(1, 2) @ matrices
    return rows.unflatten(1, (B, L)).transpose(0, 1).flatten(1, 2)
