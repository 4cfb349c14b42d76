"""PaSST, a transformer that tags sounds with AudioSet's 527 labels, in its published layout.

Koutini et al., "Efficient Training of Audio Transformers with Patchout" (arXiv 2110.05069). Names
and shapes of the weights are those of kkoutini/PaSST; patchout itself only serves training.
"""

from __future__ import annotations

from collections import OrderedDict

import torch
from torch import Tensor, nn
from torch.nn import functional

PATCH = 16  # mel bands and frames
STRIDE = 10


class Passt(nn.Module):
    """A vision transformer over patches of a log-mel spectrogram, with two tokens that sum it up.

    time_patches: length of the learned positions in time: 99, 200 or 300 for 10, 20 or 30 s.
    """

    def __init__(
        self,
        time_patches: int = 200,
        freq_patches: int = 12,
        dim: int = 768,
        heads: int = 12,
        layers: int = 12,
        classes: int = 527,
    ) -> None:
        super().__init__()
        assert dim % heads == 0, f"width {dim} for {heads} heads"
        self.time_patches, self.dim, self.classes = time_patches, dim, classes
        self.cls_token = _positions(1, 1, dim)
        self.dist_token = _positions(1, 1, dim)
        self.new_pos_embed = _positions(1, 2, dim)  # of the two tokens
        self.freq_new_pos_embed = _positions(1, dim, freq_patches, 1)
        self.time_new_pos_embed = _positions(1, dim, 1, time_patches)
        self.patch_embed = nn.Sequential(OrderedDict(proj=nn.Conv2d(1, dim, PATCH, STRIDE)))
        self.blocks = nn.Sequential(*(Block(dim, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(dim, eps=1e-6)
        self.head = nn.Sequential(nn.LayerNorm(dim), nn.Linear(dim, classes))  # eps 1e-5 here
        self.head_dist = nn.Linear(dim, classes)  # in the published files, and never used

    def forward(self, mel: Tensor) -> tuple[Tensor, Tensor]:
        """Log-mel [B, bands, frames] -> logits [B, classes] and features [B, dim].

        A short spectrogram takes the first positions in time; a longer one than there are
        positions for is the caller's error. The features are the mean of both tokens.
        """
        patches = self.patch_embed(mel[:, None])  # [B, dim, freq, time]
        length = patches.shape[-1]
        assert length <= self.time_patches, f"{length} patches for {self.time_patches} positions"
        patches = patches + self.time_new_pos_embed[..., :length] + self.freq_new_pos_embed
        tokens = torch.cat([self.cls_token, self.dist_token], dim=1) + self.new_pos_embed
        tokens = tokens.expand(mel.shape[0], -1, -1)
        sequence = torch.cat([tokens, patches.flatten(2).transpose(1, 2)], dim=1)
        features = self.norm(self.blocks(sequence)[:, :2]).mean(1)
        return self.head(features), features


class Block(nn.Module):
    """Attention and a GELU layer four times as wide, each added to its normalised input."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.norm1 = nn.LayerNorm(dim, eps=1e-6)
        self.attn = Attention(dim, heads)
        self.norm2 = nn.LayerNorm(dim, eps=1e-6)
        self.mlp = nn.Sequential(
            OrderedDict(fc1=nn.Linear(dim, 4 * dim), act=nn.GELU(), fc2=nn.Linear(4 * dim, dim))
        )

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, dim] -> [B, S, dim]."""
        x = x + self.attn(self.norm1(x))
        return x + self.mlp(self.norm2(x))


class Attention(nn.Module):
    """Every patch attends to every patch."""

    def __init__(self, dim: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(dim, 3 * dim)
        self.proj = nn.Linear(dim, dim)

    def forward(self, x: Tensor) -> Tensor:
        """[B, S, dim] -> [B, S, dim]."""
        # The rows of the weight are ordered (q, k or v; head; channel).
        qkv = self.qkv(x).unflatten(-1, (3, self.heads, -1))
        q, k, v = qkv.transpose(1, 3).unbind(2)  # [B, heads, S, channels] each
        heard = functional.scaled_dot_product_attention(q, k, v)
        return self.proj(heard.transpose(1, 2).flatten(2))


def patches_in(frames: int) -> int:
    """How many patches fit into so many frames."""
    return (frames - PATCH) // STRIDE + 1


def _positions(*shape: int) -> nn.Parameter:
    return nn.Parameter(nn.init.trunc_normal_(torch.empty(shape), std=0.02))
