"""How conditions enter the transformer: prepended to the audio, or attended to."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

TextCondition = tuple[Tensor, Tensor]  # embedding [B, L, E], mask [B, L]; all-zero row: no text


class Fused(NamedTuple):
    """Projected conditions of a batch, each where the transformer takes it."""

    prefix: Tensor | None  # [B, P, D] in front of the audio, right-aligned
    pad: Tensor | None  # [B] columns at the left of each row that are padding; None: none
    cross: Tensor | None  # [B, L, D] attended to by every layer
    cross_mask: Tensor | None  # [B, 1, 1, L] False where a position is padding


class Fuser(nn.Module):
    """Projects text and chroma to the model's width and puts them in their place.

    An absent text is zeros after the projection; an absent chroma is the projected null chroma.
    A row's result does not depend on the other rows: padding is masked, and where it would come
    between condition and audio it is moved to the far left, outside the row's positions.

        chroma c, text t, audio a (rows with three and one text tokens, "." is padding):

        c c t t t a a a
        . . c c t a a a
    """

    def __init__(
        self,
        dim: int,
        text_dim: int | None,
        chroma_dim: int | None,
        fuse_text: str,
        fuse_chroma: str,
        chroma_length: int,
    ) -> None:
        super().__init__()
        for where in (fuse_text, fuse_chroma):
            assert where in ("cross", "prepend"), f"fuse by 'cross' or 'prepend', not {where!r}"
        self.dim = dim
        self.fuse = {"chroma": fuse_chroma, "text": fuse_text}
        self.chroma_length = chroma_length
        self.text_proj = nn.Linear(text_dim, dim) if text_dim else None
        self.chroma_proj = nn.Linear(chroma_dim, dim) if chroma_dim else None

    @property
    def cross_attention(self) -> bool:
        """Whether any condition is attended to, so that layers need cross-attention."""
        projections = {"chroma": self.chroma_proj, "text": self.text_proj}
        return any(
            projection is not None and self.fuse[name] == "cross"
            for name, projection in projections.items()
        )

    def forward(
        self,
        batch_size: int,
        text: TextCondition | None,
        chroma: Tensor | None,
        branches: Sequence[bool] = (True,),
    ) -> Fused:
        """Conditions of `batch_size` rows, repeated for each branch; False is the null branch.

        The null branch (guidance) has the lengths of the conditional one.
        """
        if text is not None and self.text_proj is None:
            raise ValueError("this model takes no text: leave `text` out")
        if chroma is not None and self.chroma_proj is None:
            raise ValueError("this model takes no chroma: leave it out, or load a melody model")
        tokens: dict[str, list[tuple[Tensor, Tensor]]] = {"prepend": [], "cross": []}
        if self.chroma_proj is not None:
            chroma_tokens = self._chroma_tokens(self.chroma_proj, batch_size, chroma, branches)
            tokens[self.fuse["chroma"]].append(chroma_tokens)
        if self.text_proj is not None:
            text_tokens = self._text_tokens(self.text_proj, batch_size, text, branches)
            tokens[self.fuse["text"]].append(text_tokens)
        prefix, pad = align_right(*concatenate(tokens["prepend"]))
        cross, exists = concatenate(tokens["cross"])
        return Fused(prefix, pad, cross, None if exists is None else exists[:, None, None])

    def _chroma_tokens(
        self, proj: nn.Linear, batch_size: int, chroma: Tensor | None, branches: Sequence[bool]
    ) -> tuple[Tensor, Tensor]:
        length = self.chroma_length if chroma is None else chroma.shape[1]
        null = null_chroma(batch_size, length, proj.in_features).to(proj.weight)
        given = null if chroma is None else chroma.to(proj.weight)
        tokens = proj(torch.cat([given if branch else null for branch in branches]))
        return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)

    def _text_tokens(
        self,
        proj: nn.Linear,
        batch_size: int,
        text: TextCondition | None,
        branches: Sequence[bool],
    ) -> tuple[Tensor, Tensor]:
        if text is None:
            tokens = proj.weight.new_zeros(batch_size, 1, self.dim)
            exists = tokens.new_ones((batch_size, 1), dtype=torch.bool)
        else:
            embedding, mask = text
            keep = mask.to(proj.weight.device, torch.bool)
            tokens = proj(embedding.to(proj.weight)).masked_fill(~keep[..., None], 0.0)
            # No text at all is one zero token: softmax needs something, and the released models
            # were trained to see exactly that.
            absent = ~keep.any(dim=1)
            exists = keep.clone()
            exists[:, 0] |= absent
        null = torch.zeros_like(tokens)
        tokens = torch.cat([tokens if branch else null for branch in branches])
        return tokens, exists.repeat(len(branches), 1)


def null_chroma(batch_size: int, n_frames: int, n_chroma: int = 12) -> Tensor:
    """What stands for "no melody": [B, F, n_chroma] with bin 0 set in every frame."""
    chroma = torch.zeros(batch_size, n_frames, n_chroma)
    chroma[..., 0] = 1.0
    return chroma


def concatenate(parts: list[tuple[Tensor, Tensor]]) -> tuple[Tensor | None, Tensor | None]:
    """Join tokens [B, L, D] and their existence [B, L] along L; (None, None) without parts."""
    if not parts:
        return None, None
    tokens, exists = zip(*parts, strict=True)
    return torch.cat(tokens, dim=1), torch.cat(exists, dim=1)


def align_right(
    tokens: Tensor | None, exists: Tensor | None
) -> tuple[Tensor | None, Tensor | None]:
    """Move the padding of [B, P, D] to the left, order kept; also how much there is: [B]."""
    if tokens is None or exists is None or bool(exists.all()):
        return tokens, None
    order = exists.int().argsort(dim=1, stable=True)
    tokens = tokens.gather(1, order[..., None].expand_as(tokens))
    return tokens, (~exists).sum(dim=1)
