"""Inputs that show whether two language models compute the same."""

from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.lm.model import LanguageModel

N_FRAMES, N_WORDS = 12, 5


class Probe(NamedTuple):
    """Random inputs of a language model, the same whenever they are drawn."""

    codes: Tensor  # [2, K, T]
    text: Tensor | None  # [2, L, E], all of it words
    chroma: Tensor | None  # [2, F, 12] one-hot

    def logits(self, lm: LanguageModel) -> Tensor:
        """What a language model makes of it: [2, K, T, card]."""
        text = None if self.text is None else (self.text, torch.ones(self.text.shape[:2]))
        return lm.logits(self.codes, text=text, chroma=self.chroma)[0]


def probe(lm: LanguageModel) -> Probe:
    """Inputs that reach every weight but those of unused codes."""
    rng = torch.Generator().manual_seed(0)
    codes = torch.randint(lm.card, (2, lm.n_q, N_FRAMES), generator=rng)
    text = chroma = None
    if width := lm.config["text_dim"]:
        text = torch.randn(2, N_WORDS, width, generator=rng) / 4
    if bins := lm.config["chroma_dim"]:
        length = lm.config["chroma_length"]
        notes = torch.randint(bins, (2, length), generator=rng)
        chroma = torch.nn.functional.one_hot(notes, bins).float()
    return Probe(codes, text, chroma)
