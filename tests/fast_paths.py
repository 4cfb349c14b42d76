"""`pytest --fast-path NAME`: the suite with every model on a path that is otherwise switched on.

What computes the same must pass the same tests. Forced in this process alone, so commands that
tests start as others (train.py on ranks, recipes) run as they are. Compiled steps and fewer bits a
weight are not among them: one takes minutes for hundreds of models, the others are not equal.
"""

import functools
import sys
from types import ModuleType
from typing import Any

import torch
from torch.nn import functional as F

CHUNK = 3  # steps: less than any test has, so that there are several chunks and a rest


def recompute() -> None:
    """Activation checkpointing in every language model."""
    from musicgen_train.lm.model import LanguageModel
    from musicgen_train.training.transforms import recompute_layers

    build = LanguageModel.__init__

    @functools.wraps(build)  # its signature is what configurations are checked by
    def build_recomputed(self: LanguageModel, **options: Any) -> None:
        build(self, **options)
        recompute_layers(self)

    LanguageModel.__init__ = build_recomputed


def chunks() -> None:
    """The loss of every language model by chunks of few steps."""
    from musicgen_train.lm import model

    whole = model.chunked_cross_entropy
    model.chunked_cross_entropy = lambda *arguments: whole(*arguments[:-1], CHUNK)


def xformers() -> None:
    """Attention by the calls that are xformers', of which a stand-in is written down here."""
    from musicgen_train.lm import attention, transformer

    stand_in_for_xformers()
    transformer.sdpa = attention.xformers


def cpu() -> None:
    """Attention of every language model as it is trained on a CPU."""
    from musicgen_train.lm import attention, transformer

    transformer.sdpa = attention.blocks
    transformer.CrossAttention.absorb = True


def packed() -> None:
    """Every generation on matrices that are packed for oneDNN."""
    from copy import deepcopy

    from musicgen_train.lm import generation
    from musicgen_train.lm.inference import places, prepare
    from musicgen_train.lm.packing import Int8Linear, PackedLinear

    plain = generation.steps

    def on_packed(model: Any, *arguments: Any) -> Any:
        packable = model.acceleration is None and not hasattr(model, "peft_config")
        if packable and not places(model, PackedLinear, Int8Linear):
            model = deepcopy(model)
            prepare(model)
        yield from plain(model, *arguments)

    generation.steps = on_packed


def folded() -> None:
    """Every codec without its weight norm, wherever nothing of it is trained."""
    from musicgen_train.codec.encodec import Encodec
    from musicgen_train.codec.folding import fold_weight_norm

    for name in ("encode", "decode"):
        plain = getattr(Encodec, name)

        def on_folded(self: Any, *arguments: Any, _plain: Any = plain, **options: Any) -> Any:
            codec = self if self.training else fold_weight_norm(self)
            return _plain(codec, *arguments, **options)

        setattr(Encodec, name, on_folded)


def stand_in_for_xformers() -> None:
    """A package of that name with the two names of it that are used: its own has no CPU kernels."""
    ops: Any = ModuleType("xformers.ops")
    ops.LowerTriangularMask = LowerTriangularMask
    ops.memory_efficient_attention = memory_efficient_attention
    sys.modules["xformers"] = ModuleType("xformers")
    sys.modules["xformers.ops"] = ops


class LowerTriangularMask:
    """Nothing of what follows is seen."""


def memory_efficient_attention(
    q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, attn_bias: Any = None, p: float = 0.0
) -> torch.Tensor:
    """What xformers documents of its own: [B, S, H, E], a bias that is added to the scores."""
    if isinstance(attn_bias, LowerTriangularMask):
        attn_bias = q.new_full((q.shape[1], k.shape[1]), float("-inf")).triu(1)
    elif attn_bias is not None:
        assert attn_bias.shape == (q.shape[0], q.shape[2], q.shape[1], k.shape[1])
        assert attn_bias.stride(-2) % 8 == 0, "kernels read rows of a multiple of eight"
    scores = torch.einsum("bqhe,bkhe->bhqk", q, k) / q.shape[-1] ** 0.5
    scores = scores if attn_bias is None else scores + attn_bias
    return torch.einsum("bhqk,bkhe->bqhe", F.dropout(F.softmax(scores, -1), p), v)


FAST_PATHS = {path.__name__: path for path in (recompute, chunks, xformers, cpu, packed, folded)}
