"""A pre-norm transformer decoder: causal self-attention, optional cross-attention, GELU MLP."""

import math
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from musicgen_train.lm.absorbed import absorbed_attention, pays
from musicgen_train.lm.attention import Attend, sdpa
from musicgen_train.lm.products import Linear


class KVCache:
    """Keys and values of all layers, allocated once for the whole generation."""

    def __init__(self, num_layers: int, shape: tuple[int, int, int, int], like: Tensor) -> None:
        """`shape` is [B, H, length, D / H] of a layer; device and type are those of `like`."""
        self.keys = [like.new_zeros(shape) for _ in range(num_layers)]
        self.values = [like.new_zeros(shape) for _ in range(num_layers)]

    def write(self, layer: int, columns: Tensor, k: Tensor, v: Tensor) -> None:
        """Put the keys and values of new positions into their columns."""
        self.keys[layer].index_copy_(2, columns, k)
        self.values[layer].index_copy_(2, columns, v)

    def read(self, layer: int, visible: int) -> tuple[Tensor, Tensor]:
        """The first `visible` columns."""
        return self.keys[layer][:, :, :visible], self.values[layer][:, :, :visible]


class Span(NamedTuple):
    """Which columns of the sequence are computed, and what they may attend to."""

    columns: Tensor  # [S] int64, ascending and contiguous
    mask: Tensor | None  # [B or 1, 1, S, visible] True where seen; None: all of their past
    visible: int  # columns that are looked at
    cache: KVCache | None  # None: the span is the whole sequence


class SelfAttention(nn.Module):
    """Multi-head attention of a sequence to its own past."""

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.attend: Attend = sdpa
        self.qkv = Linear(dim, 3 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def forward(self, x: Tensor, span: Span, layer: int = 0) -> Tensor:
        """[B, S, D] -> [B, S, D]; `layer` is this layer's place in the cache."""
        q, k, v = (split_heads(t, self.num_heads) for t in self.qkv(x).chunk(3, dim=-1))
        if span.cache is not None:
            span.cache.write(layer, span.columns, k, v)
            k, v = span.cache.read(layer, span.visible)
        # One new position may see everything before it, so it needs no mask at all.
        causal = span.mask is None and q.shape[2] > 1
        p = self.dropout if self.training else 0.0
        y = self.attend(q, k, v, span.mask, causal, p)
        return self.out(merge_heads(y))


class Condition(NamedTuple):
    """What cross-attention attends to."""

    tokens: Tensor  # [B, L, D]
    mask: Tensor  # [B, 1, 1, L] False where the condition is padding


class Cross(NamedTuple):
    """A condition as one layer's cross-attention reads it, at every step of a generation."""

    keys: Tensor  # [B, H, L, D / H]
    values: Tensor
    mask: Tensor  # [B, 1, 1, L]


class CrossAttention(nn.Module):
    """Multi-head attention of a sequence to a condition."""

    absorb = False  # both projections of the sequence, where that takes fewer operations

    def __init__(self, dim: int, num_heads: int, dropout: float) -> None:
        super().__init__()
        self.num_heads = num_heads
        self.dropout = dropout
        self.attend: Attend = sdpa
        self.q = Linear(dim, dim, bias=False)
        self.kv = Linear(dim, 2 * dim, bias=False)
        self.out = Linear(dim, dim, bias=False)

    def read(self, condition: Condition) -> Cross:
        """Its keys and values; a generation computes them once."""
        k, v = self.kv(condition.tokens).chunk(2, dim=-1)
        k, v = split_heads(k, self.num_heads), split_heads(v, self.num_heads)
        return Cross(k.contiguous(), v.contiguous(), condition.mask)

    def forward(self, x: Tensor, cross: Condition | Cross) -> Tensor:
        """[B, S, D] -> [B, S, D]."""
        if isinstance(cross, Condition):
            cross = self.read(cross)
            if self._absorbs(x, cross):
                return absorbed_attention(x, *cross, self.q.weight, self.out.weight)
        q = split_heads(self.q(x), self.num_heads)
        p = self.dropout if self.training else 0.0
        y = self.attend(q, cross.keys, cross.values, cross.mask, False, p)
        return self.out(merge_heads(y))

    def _absorbs(self, x: Tensor, cross: Cross) -> bool:
        """Whether it pays, and can: matrices are plain, no probability is dropped."""
        return (
            self.absorb
            and type(self.q) is type(self.out) is Linear
            and not (self.training and self.dropout)
            and pays(x.shape[1], cross.keys.shape[2], x.shape[2], self.num_heads)
        )


class FeedForward(nn.Module):
    """The position-wise MLP: [B, S, D] -> [B, S, D]."""

    def __init__(self, dim: int, ffn_dim: int, dropout: float) -> None:
        super().__init__()
        self.up = Linear(dim, ffn_dim, bias=False)
        self.dropout = nn.Dropout(dropout)
        self.down = Linear(ffn_dim, dim, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(self.dropout(F.gelu(self.up(x))))


class Layer(nn.Module):
    """Attention to the past, attention to the text, MLP; each added to its normalised input."""

    def __init__(
        self, dim: int, num_heads: int, ffn_dim: int, dropout: float, cross_attention: bool
    ) -> None:
        super().__init__()
        self.norm_self = nn.LayerNorm(dim, eps=1e-5)
        self.self_attn = SelfAttention(dim, num_heads, dropout)
        if cross_attention:
            self.norm_cross = nn.LayerNorm(dim, eps=1e-5)
            self.cross_attn = CrossAttention(dim, num_heads, dropout)
        self.norm_ffn = nn.LayerNorm(dim, eps=1e-5)
        self.ffn = FeedForward(dim, ffn_dim, dropout)
        self.dropout = nn.Dropout(dropout)

    def forward(
        self, x: Tensor, span: Span, cross: Condition | Cross | None = None, index: int = 0
    ) -> Tensor:
        """[B, S, D] -> [B, S, D]; `index` is the layer's place in the cache."""
        x = x + self.dropout(self.self_attn(self.norm_self(x), span, index))
        if cross is not None:
            x = x + self.dropout(self.cross_attn(self.norm_cross(x), cross))
        return x + self.dropout(self.ffn(self.norm_ffn(x)))


def seen(columns: Tensor, visible: int, pad: Tensor | None) -> Tensor:
    """Who may attend to whom: [B or 1, 1, len(columns), visible].

    A column sees its past but no padding; padding sees itself, as softmax needs something.
    """
    keys = torch.arange(visible, device=columns.device)
    query = columns[:, None]
    if pad is None:
        return (keys <= query)[None, None]
    past = (keys <= query) & (keys >= pad[:, None, None])
    return (past | (keys == query))[:, None]


def split_heads(x: Tensor, num_heads: int) -> Tensor:
    """[B, S, D] -> [B, H, S, D / H]."""
    return x.unflatten(-1, (num_heads, -1)).transpose(1, 2)


def merge_heads(x: Tensor) -> Tensor:
    """[B, H, S, D / H] -> [B, S, D]."""
    return x.transpose(1, 2).flatten(2)


def sinusoid(positions: Tensor, dim: int, period: float = 10000.0) -> Tensor:
    """Position embedding [cos | sin]: [...] -> [..., dim]."""
    half = dim // 2
    exponent = torch.arange(half, device=positions.device, dtype=torch.float32) / (half - 1)
    phase = positions[..., None].float() * torch.exp(-math.log(period) * exponent)
    return torch.cat([phase.cos(), phase.sin()], dim=-1)
