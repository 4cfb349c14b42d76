"""Dropping conditions in training, sample by sample, so that guidance has an unconditional model.

All draws for a sample come from its own generator, whatever else is in the batch.
"""

from collections.abc import Sequence

import torch
from torch import Tensor

from musicgen_train.conditioning.merging import chance


def drop_conditions(
    descriptions: list[str],
    chroma: Tensor | None,
    generators: Sequence[torch.Generator],
    *,
    cfg_dropout: float = 0.3,
    text_dropout: float = 0.0,
    chroma_dropout: float = 0.0,
) -> tuple[list[str], Tensor | None]:
    """Blank whole samples (cfg_dropout), and single conditions of the others.

    descriptions: B texts. chroma: [B, F, 12], dense or one-hot. generators: B, one a sample. A
    dropped text is "", a dropped chroma is zeros, which `one_hot` turns into the null chroma.
    """
    p = torch.tensor([cfg_dropout, text_dropout, chroma_dropout])
    draws = torch.stack([torch.rand(3, generator=generator) for generator in generators]) < p
    drop_all, drop_text, drop_chroma = draws.unbind(dim=1)
    drop_text, drop_chroma = drop_text | drop_all, drop_chroma | drop_all
    texts = ["" if drop else text for text, drop in zip(descriptions, drop_text, strict=True)]
    if chroma is not None:
        chroma = chroma.masked_fill(drop_chroma.to(chroma.device)[:, None, None], 0.0)
    return texts, chroma


def drop_words(description: str, p: float, generator: torch.Generator) -> str:
    """Leave out each word with probability p."""
    return " ".join(word for word in description.split() if not chance(p, generator))
