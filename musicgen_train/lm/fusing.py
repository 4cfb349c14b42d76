"""How conditions enter the transformer: prepended to the audio, attended to, or added to it."""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F

TextCondition = tuple[Tensor, Tensor]  # embedding [B, L, E], mask [B, L]; all-zero row: no text
Tokens = tuple[Tensor, Tensor]  # projected [B, L, D], and which of them exist [B, L]

PLACES = ("cross", "prepend", "sum")


class Fused(NamedTuple):
    """Projected conditions of a batch, each where the transformer takes it."""

    prefix: Tensor | None  # [B, P, D] in front of the audio, right-aligned
    pad: Tensor | None  # [B] columns at the left of each row that are padding; None: none
    cross: Tensor | None  # [B, L, D] attended to by every layer
    cross_mask: Tensor | None  # [B, 1, 1, L] False where a position is padding
    added: Tensor | None  # [B, F, D] added to the steps, frame by frame; F is 1 for a text alone


class Fuser(nn.Module):
    """Projects text and chroma to the model's width and puts them in their place.

    An absent text is zeros after the projection; an absent chroma is the projected null chroma.
    A row's result does not depend on the other rows: padding is masked, and where it would come
    between condition and audio it is moved to the far left, outside the row's positions.

        chroma c, text t, audio a (rows with three and one text tokens, "." is padding):

        c c t t t a a a
        . . c c t a a a

    A chroma that is added ("sum") goes to the steps that it sounds at; a text that is added goes to
    every step, as the mean of its tokens.
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
            if where not in PLACES:
                raise ValueError(f"fuse by one of {', '.join(PLACES)}, not {where!r}")
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
        negative_text: TextCondition | None = None,
    ) -> Fused:
        """Conditions of `batch_size` rows, repeated for each branch; False is the null branch.

        The null branch (guidance) has the lengths of the conditional one and no chroma; its text is
        zeros, or in rows that have one the negative text.
        """
        for given in (text, negative_text):
            if given is not None and self.text_proj is None:
                raise ValueError("this model takes no text: leave `text` out")
        if chroma is not None and self.chroma_proj is None:
            raise ValueError("this model takes no chroma: leave it out, or load a melody model")
        placed: dict[str, list[Tokens]] = {place: [] for place in PLACES}
        if self.chroma_proj is not None:
            tokens, exists = self._chroma_tokens(self.chroma_proj, batch_size, chroma)
            null = self._chroma_tokens(self.chroma_proj, batch_size, None, tokens.shape[1])
            placed[self.fuse["chroma"]].append(stack((tokens, exists), null, branches))
        if self.text_proj is not None:
            tokens, exists = self._text_tokens(self.text_proj, batch_size, text)
            null = torch.zeros_like(tokens), exists
            if negative_text is not None:
                negative = self._text_tokens(self.text_proj, batch_size, negative_text)
                null = choose_rows(negative_text[1].any(dim=1), negative, null)
            stacked = stack((tokens, exists), null, branches)
            if self.fuse["text"] == "sum":
                stacked = mean_token(*stacked)
            placed[self.fuse["text"]].append(stacked)
        prefix, pad = align_right(*concatenate(placed["prepend"]))
        cross, exists = concatenate(placed["cross"])
        mask = None if exists is None else exists[:, None, None]
        added = [tokens for tokens, _ in placed["sum"]]  # [B, F, D], and [B, 1, D] of a text
        return Fused(prefix, pad, cross, mask, sum(added[1:], added[0]) if added else None)

    def _chroma_tokens(
        self, proj: nn.Linear, batch_size: int, chroma: Tensor | None, length: int | None = None
    ) -> Tokens:
        if chroma is None:
            chroma = null_chroma(batch_size, length or self.chroma_length, proj.in_features)
        tokens = proj(chroma.to(proj.weight))
        return tokens, tokens.new_ones(tokens.shape[:2], dtype=torch.bool)

    def _text_tokens(self, proj: nn.Linear, batch_size: int, text: TextCondition | None) -> Tokens:
        if text is None:
            tokens = proj.weight.new_zeros(batch_size, 1, self.dim)
            return tokens, tokens.new_ones((batch_size, 1), dtype=torch.bool)
        embedding, mask = text
        keep = mask.to(proj.weight.device, torch.bool)
        tokens = proj(embedding.to(proj.weight)).masked_fill(~keep[..., None], 0.0)
        # No text at all is one zero token: softmax needs something, and the released models
        # were trained to see exactly that.
        absent = ~keep.any(dim=1)
        exists = keep.clone()
        exists[:, 0] |= absent
        return tokens, exists


def null_chroma(batch_size: int, n_frames: int, n_chroma: int = 12) -> Tensor:
    """What stands for "no melody": [B, F, n_chroma] with bin 0 set in every frame."""
    chroma = torch.zeros(batch_size, n_frames, n_chroma, device="cpu", dtype=torch.float32)
    chroma[..., 0] = 1.0
    return chroma


def stack(given: Tokens, null: Tokens, branches: Sequence[bool]) -> Tokens:
    """The branches' tokens one under the other; the shorter ones are padded."""
    tokens, exists = zip(*pad_alike(given if b else null for b in branches), strict=True)
    return torch.cat(tokens), torch.cat(exists)


def choose_rows(chosen: Tensor, a: Tokens, b: Tokens) -> Tokens:
    """Rows of a where `chosen` [B], else of b; the shorter ones are padded."""
    rows = chosen.to(a[0].device, torch.bool)[:, None]
    (a_tokens, a_exists), (b_tokens, b_exists) = pad_alike((a, b))
    return a_tokens.where(rows[..., None], b_tokens), a_exists.where(rows, b_exists)


def pad_alike(several: Iterable[Tokens]) -> list[Tokens]:
    """Pad at the end to the length of the longest."""
    several = list(several)
    longest = max(exists.shape[1] for _, exists in several)
    missing = [longest - exists.shape[1] for _, exists in several]
    return [
        (F.pad(tokens, (0, 0, 0, n)), F.pad(exists, (0, n)))
        for (tokens, exists), n in zip(several, missing, strict=True)
    ]


def mean_token(tokens: Tensor, exists: Tensor) -> Tokens:
    """The mean of the tokens that exist: [B, L, D] -> [B, 1, D]."""
    counted = exists[..., None].to(tokens.dtype)
    mean = (tokens * counted).sum(1, keepdim=True) / counted.sum(1, keepdim=True)
    return mean, exists[:, :1]


def concatenate(parts: list[Tokens]) -> tuple[Tensor | None, Tensor | None]:
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
