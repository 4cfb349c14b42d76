"""A word encoder that starts from another one."""

import torch
from torch import Tensor, nn

from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.training.partial.report import ANEW, RESIZED, TAKEN, Part

NAME = "text encoder"


@torch.no_grad()
def take_text_encoder(
    target: WordTextEncoder, source: WordTextEncoder | T5TextEncoder | None
) -> Part:
    """Let `target` start from `source`; tell what was taken.

    Words are hashed into `vocab_size` rows: a table of another size has other words in its rows.
    Layers and positions that the source lacks add nothing at first.
    """
    size = _size(target)
    if not isinstance(source, WordTextEncoder):
        kind = "none" if source is None else "a T5"
        return Part(NAME, ANEW, size, 0, f"the source has {kind}")
    for name in ("dim", "vocab_size"):
        here, there = getattr(target, name), getattr(source, name)
        if here != there:
            return Part(NAME, ANEW, size, 0, f"{name} {there} -> {here} cannot be resized")
    target.embedding.load_state_dict(source.embedding.state_dict())
    n_taken, how = _size(target.embedding), []
    if target.positions is not None:
        n_taken += _take_positions(target.positions.weight, source.positions)
        if source.positions is not None and target.max_words != source.max_words:
            how.append(f"max_words {source.max_words} -> {target.max_words}")
    for index, layer in enumerate(target.layers):
        if index < len(source.layers):
            layer.load_state_dict(source.layers[index].state_dict())
            n_taken += _size(layer)
        else:
            _silence(layer)
    if len(target.layers) != len(source.layers):
        how.append(f"{len(source.layers)} -> {len(target.layers)} layers")
    return Part(NAME, RESIZED if how else TAKEN, size, n_taken, ", ".join(how))


def _take_positions(weight: Tensor, source: nn.Embedding | None) -> int:
    if source is None:
        weight.zero_()
        return 0
    n = min(len(weight), source.num_embeddings)
    weight[:n] = source.weight[:n].float()
    return n * weight.shape[1]


def _silence(layer: nn.Module) -> None:
    """Let a pre-norm encoder layer of torch give its input until it learns otherwise."""
    for name in ("self_attn.out_proj", "linear2"):
        for parameter in layer.get_submodule(name).parameters():
            parameter.zero_()


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
