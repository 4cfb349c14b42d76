"""One generation's state in tensors of fixed shape, and the step that fills them."""

from typing import TYPE_CHECKING

import torch
from torch import Tensor

from musicgen_train.lm.autocast import product_dtype
from musicgen_train.lm.sampling import Sampling, choose
from musicgen_train.lm.transformer import KVCache, Span, seen

if TYPE_CHECKING:
    from musicgen_train.lm.generation import Given
    from musicgen_train.lm.model import LanguageModel

UNKNOWN = -1  # a code still to be generated
Branches = tuple[bool, ...]  # of guidance: True is the conditional one, False the null one


class Decoder:
    """Fills the delayed sequence of a batch in place, step by step.

    `passes` are the branches of guidance by transformer call: ((True, False),) computes both in one
    batch, ((True,), (False,)) one after the other. All that a step needs of the conditions is
    computed here, once. A step reads and writes tensors of fixed shape and place, so it can be
    compiled and captured; see `inference.py`.
    """

    def __init__(
        self,
        model: "LanguageModel",
        sequence: Tensor,
        uniforms: Tensor,
        given: "Given",
        sampling: Sampling,
        passes: list[Branches],
    ) -> None:
        """sequence [B, K, S] with `UNKNOWN` where tokens are wanted, uniforms [B, S, K]."""
        self.model = model
        self.sequence = sequence
        self.uniforms = uniforms
        self.sampling = sampling
        self.n_branches = [len(branches) for branches in passes]
        batch_size, _, self.n_steps = sequence.shape
        self.contexts = [
            model.read(
                model.context(batch_size, given.text, given.chroma, branches, given.negative_text)
            )
            for branches in passes
        ]
        self.position = torch.zeros(1, dtype=torch.long, device=sequence.device)  # step to fill
        self.bucket = 1 if model.acceleration is None else model.acceleration.bucket
        self.caches = [
            self._cache(n * batch_size, context.prefix_length)
            for n, context in zip(self.n_branches, self.contexts, strict=True)
        ]

    def start(self, step: int) -> None:
        """Read all steps before `step`, the first that is wanted, and fill it."""
        self.position.fill_(step)
        logits = []
        for n, context, cache in zip(self.n_branches, self.contexts, self.caches, strict=True):
            known = self.sequence[..., :step].repeat(n, 1, 1)
            span = self.model.whole(context, step, cache)
            logits.append(self.model.step_logits(known, context, span)[:, -1])
        self._write(torch.cat(logits))

    def visible(self, step: int) -> int:
        """What `fill` needs for `step`, rounded up so that a compilation serves many steps."""
        return -(-step // self.bucket) * self.bucket

    def fill(self, n_visible: int) -> None:
        """Fill the next step; attention looks at the first `n_visible` ones."""
        last = self.position - 1
        tokens = self.sequence.index_select(2, last)
        logits = []
        for n, context, cache in zip(self.n_branches, self.contexts, self.caches, strict=True):
            visible = context.prefix_length + n_visible
            columns = last + context.prefix_length
            # One new column sees all that is filled: nothing is to be hidden but padding.
            plain = self.bucket == 1 and context.pad is None
            mask = None if plain else seen(columns, visible, context.pad)
            span = Span(columns, mask, visible, cache)
            logits.append(self.model.step_logits(tokens.repeat(n, 1, 1), context, span)[:, -1])
        self._write(torch.cat(logits))

    def _cache(self, rows: int, prefix_length: int) -> KVCache:
        # One column more than is ever looked at: a compiler would make a case of its own of "all".
        length = prefix_length + self.visible(self.n_steps) + (self.bucket > 1)
        heads = self.model.config["num_heads"]
        shape = (rows, heads, length, self.model.dim // heads)
        weight = self.model.embedding.weight
        return KVCache(len(self.model.layers), shape, like=weight.to(product_dtype(weight)))

    def _write(self, logits: Tensor) -> None:
        """Choose the tokens at `position` from the branches' logits [n * B, K, card]; move on."""
        uniform = self.uniforms.index_select(1, self.position)[:, 0]
        tokens = choose(logits, uniform, self.sampling, sum(self.n_branches))[..., None]
        # Prompt codes and the special tokens around each codebook are already in place.
        known = self.sequence.index_select(2, self.position)
        tokens = tokens.where(known == UNKNOWN, known)
        self.sequence.index_copy_(2, self.position, tokens)
        self.position += 1
