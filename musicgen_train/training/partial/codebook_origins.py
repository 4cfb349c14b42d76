"""Which codebooks of one language model become which of another, and their weights.

Streams are summed at the input, and every codebook has a head of its own. So, with codes that are
the same on the left and on the right:

    mono -> stereo   half the embedding and the whole head for each side: the mono model's logits
    stereo -> mono   the sum of the embeddings and the mean of the heads: the mean of both's logits

(The reference's recipe copies the embeddings whole: the input is then twice as large as any that
the layers have seen.) Codebooks that the source lacks start at 0: they change nothing that is
known, are all equally likely, and learn at once, as both their gradients come from what is not 0.
"""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.lm.model import LanguageModel


class Origins(NamedTuple):
    """Where the codebooks of the new model come from."""

    books: list[list[int]]  # of each, those of the source that it is made of; none: a new one
    embedding_scale: float
    left_out: list[int]  # of the source
    how: str  # "" if they are the same ones
    differences: list[str]  # what the known codebooks' predictions lose
    remarks: list[str]  # under what conditions they lose nothing


def n_sides(delays: Sequence[int]) -> int:
    """2 if the codebooks are those of left and right, level by level, else 1.

    Only the delays say so: both sides of a level share a step, and no two levels do.
    """
    left, right = list(delays[::2]), list(delays[1::2])
    return 2 if left == right and len(set(left)) == len(left) else 1


def origins(target: Sequence[int], source: Sequence[int]) -> Origins:
    """The origins of a model's codebooks, from its delays and the source's."""
    ours, theirs = n_sides(target), n_sides(source)
    levels = len(source) // theirs
    books = []
    for k in range(len(target)):
        level, side = divmod(k, ours)
        if level >= levels:
            books.append([])
        elif ours == theirs:
            books.append([level * theirs + side])
        else:  # one for both sides, or both sides for one
            books.append([level * theirs + other for other in range(theirs)])
    used = {k for origin in books for k in origin}
    how, differences, remarks = [], [], []
    if ours > theirs:
        how.append("mono -> stereo")
        remarks.append("what is the same on both sides is predicted as it was in mono")
    elif ours < theirs:
        how.append("stereo -> mono")
        differences.append("its predictions are the means of both sides'")
    if len(target) // ours != levels:
        how.append(f"{levels} -> {len(target) // ours} codebooks")
    if len(target) // ours > levels:
        how.append("new ones at 0")
        remarks.append("of the new codebooks all codes are equally likely")
    left_out = [k for k in range(len(source)) if k not in used]
    scale = 0.5 if ours > theirs else 1.0
    return Origins(books, scale, left_out, ", ".join(how), differences, remarks)


def embedding_rows(
    weight: Tensor, source: LanguageModel, target: LanguageModel, found: Origins
) -> Tensor:
    """The source's embedding [n_q * (card + 1), D] as the target's; special rows stay special."""
    tables = weight.view(source.n_q, source.card + 1, -1)
    rows = []
    for books in found.books:
        table = tables[books].float().sum(0) * found.embedding_scale
        rows += [_resized(table[:-1], target.card), table[-1:]]
    return torch.cat(rows)


def head_rows(
    weight: Tensor, source: LanguageModel, target: LanguageModel, found: Origins
) -> Tensor:
    """The source's heads [n_q * card, D] as the target's."""
    tables = weight.view(source.n_q, source.card, -1)
    heads = [tables[books].float().sum(0) / max(1, len(books)) for books in found.books]
    return torch.cat([_resized(head, target.card) for head in heads])


def _resized(rows: Tensor, card: int) -> Tensor:
    """The first rows of [n, D], or these and their mean until there are `card`.

    With the mean as its row a new code is never likelier than the known ones on average, so that
    what is known costs at most ln(card / n) nats more (Hewitt 2021).
    """
    new = rows.mean(0).expand(max(0, card - len(rows)), -1)
    return torch.cat([rows[:card], new])
