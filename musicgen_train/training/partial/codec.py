"""A codec that starts from another one, of other codebooks, channels or layers.

What is new is made to add nothing at first wherever that is possible, so that the new codec sounds
as the source does, given the same audio on all channels.
"""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.layers import ELU, LSTM, Conv1d, ResidualBlock
from musicgen_train.codec.rvq import Codebook
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.training.partial.report import ANEW, LEFT_OUT, RESIZED, TAKEN, Part, Report

FIRST, LAST = "first convolution", "last convolution"
# Options that change what the same weights compute.
MEANINGS = (
    "causal", "pad_mode", "dilation_base", "trim_right_ratio", "normalize", "chunk_duration",
    "chunk_overlap",
)  # fmt: skip


class _Net(NamedTuple):
    """What became of an encoder or a decoder."""

    parts: list[Part]
    differences: list[str]


@torch.no_grad()
def take_codec(target: Encodec, source: Encodec | StereoCodec) -> Report:
    """Let `target` start from `source`, of a stereo pair from its mono codec; tell what was taken.

    UserError if nothing would be taken.
    """
    source = source.mono if isinstance(source, StereoCodec) else source
    encoder = _take_net("encoder", target.encoder.layers, source.encoder.layers, _audio_inputs)
    decoder = _take_net("decoder", target.decoder.layers, source.decoder.layers, _audio_outputs)
    books = _take_codebooks(target, source)
    parts = [*encoder.parts, *decoder.parts, *books.parts]
    if not any(part.n_taken for part in (*encoder.parts, *decoder.parts)):
        names = ("n_filters", "dimension", "ratios")
        shapes = [
            ", ".join(f"{name} {codec.config[name]}" for name in names)
            for codec in (source, target)
        ]
        raise UserError(
            f"init_from: that codec has {shapes[0]}, this one {shapes[1]}: no weight would fit; "
            "set codec's to those, or leave init_from out"
        )
    differences = encoder.differences + decoder.differences + books.differences
    differences += [
        f"{name} was {source.config[name]}"
        for name in MEANINGS
        if source.config[name] != target.config[name]
    ]
    remarks = []
    if source.sample_rate != target.sample_rate:
        remarks.append(f"it was trained at {source.sample_rate} Hz, not {target.sample_rate}")
    return Report(parts, differences, remarks)


def _take_net(
    name: str,
    target: nn.Sequential,
    source: nn.Sequential,
    reshape: Callable[[nn.Module, nn.Module], bool],
) -> _Net:
    """Take an encoder's or decoder's layers, each from the one of the same place."""
    ours, theirs = _places(target), _places(source)
    n_taken, how, differences = 0, [], []
    for place, module in ours.items():
        if place not in theirs:
            silent = _silence(module)
            how.append(f"{place} is new{', silent at first' if silent else ''}")
            differences += [] if silent else [f"the {name}'s {place} is new"]
        elif _same_shapes(module, theirs[place]):
            module.load_state_dict(theirs[place].state_dict())
            n_taken += _size(module)
        elif place in (FIRST, LAST) and reshape(module, theirs[place]):
            n_taken += _size(module)
            how.append(f"{place} for other channels")
        else:
            how.append(f"{place} is anew")
            differences.append(f"the {name}'s {place} has another shape")
    size = sum(map(_size, ours.values()))
    outcome = (RESIZED if how else TAKEN) if n_taken else ANEW
    parts = [Part(name, outcome, size, n_taken, "; ".join(how) if n_taken else "")]
    missing = [place for place in theirs if place not in ours]
    if missing:
        size = sum(_size(theirs[place]) for place in missing)
        parts.append(Part(f"{name}'s rest", LEFT_OUT, size, 0, ", ".join(missing)))
        differences.append(f"the {name}'s {missing[0]} is left out")
    return _Net(parts, differences)


def _places(net: nn.Sequential) -> dict[str, nn.Module]:
    """The layers of an encoder or decoder that have weights, by what they are for."""
    layers = [layer for layer in net if not isinstance(layer, ELU)]
    places: dict[str, nn.Module] = {}
    stage, n_blocks = 1, 0
    for layer in layers:
        if layer is layers[0] or layer is layers[-1]:
            places[FIRST if layer is layers[0] else LAST] = layer
        elif isinstance(layer, LSTM):
            places["LSTM"] = layer
        elif isinstance(layer, ResidualBlock):
            n_blocks += 1
            places[f"residual layer {stage}.{n_blocks}"] = layer
        else:
            places[f"resampling {stage}"] = layer
            stage, n_blocks = stage + 1, 0
    return places


def _audio_inputs(target: nn.Module, source: nn.Module) -> bool:
    """An encoder's first layer for other channels: what they share gives what it gave."""
    assert isinstance(target, Conv1d) and isinstance(source, Conv1d)
    weight = source.conv.weight.float()
    n = target.conv.in_channels
    if source.conv.in_channels == 1:
        weight = weight.expand(-1, n, -1) / n
    elif n == 1:
        weight = weight.sum(1, keepdim=True)
    if weight.shape != target.conv.weight.shape or not _same_shapes(target.norm, source.norm):
        return False
    _set_weight(target.conv, weight)
    _bias(target.conv).copy_(_bias(source.conv))
    target.norm.load_state_dict(source.norm.state_dict())
    return True


def _audio_outputs(target: nn.Module, source: nn.Module) -> bool:
    """A decoder's last layer for other channels: each gets what there was, or the mean."""
    assert isinstance(target, Conv1d) and isinstance(source, Conv1d)
    n = target.conv.out_channels

    def fitted(tensor: Tensor) -> Tensor:
        if len(tensor) == 1:
            return tensor.float().expand(n, *tensor.shape[1:])
        return tensor.float().mean(0, keepdim=True) if n == 1 else tensor

    weight = fitted(source.conv.weight)
    if weight.shape != target.conv.weight.shape or type(target.norm) is not type(source.norm):
        return False
    _set_weight(target.conv, weight)
    _bias(target.conv).copy_(fitted(_bias(source.conv)))
    for ours, theirs in zip(target.norm.parameters(), source.norm.parameters(), strict=True):
        ours.copy_(fitted(theirs))
    return True


def _bias(conv: nn.Module) -> Tensor:
    assert isinstance(conv.bias, Tensor)
    return conv.bias


def _set_weight(conv: nn.Conv1d, weight: Tensor) -> None:
    if is_parametrized(conv, "weight"):
        conv.weight = weight  # weight norm splits it into direction and length
    else:
        conv.weight.copy_(weight)


def _silence(module: nn.Module) -> bool:
    """Let a layer that is added to its input add nothing until it learns otherwise, if it can."""
    if isinstance(module, LSTM):
        # The new content of the last layer's cells, before their gates: without it they stay at 0.
        hidden, top = module.lstm.hidden_size, module.lstm.num_layers - 1
        for name in ("weight_ih", "weight_hh", "bias_ih", "bias_hh"):
            getattr(module.lstm, f"{name}_l{top}")[2 * hidden : 3 * hidden].zero_()
        return True
    if not isinstance(module, ResidualBlock) or not isinstance(module.shortcut, nn.Identity):
        return False
    last = module.block[-1]
    assert isinstance(last, Conv1d)
    # Of weight norm the length alone: a direction of 0 would divide by 0.
    parametrized = is_parametrized(last.conv, "weight")
    weight = last.conv.parametrizations["weight"].original0 if parametrized else last.conv.weight  # type: ignore[index]
    for tensor in (weight, _bias(last.conv)):
        tensor.zero_()
    return True


def _take_codebooks(target: Encodec, source: Encodec) -> _Net:
    ours, theirs = target.quantizer.codebooks, source.quantizer.codebooks
    size = sum(book.embed.numel() for book in ours)
    if ours[0].embed.shape[1] != theirs[0].embed.shape[1]:
        widths = theirs[0].embed.shape[1], ours[0].embed.shape[1]
        told = f"dimension {widths[0]} -> {widths[1]}"
        return _Net([Part("codebooks", ANEW, size, 0, told)], [f"the codebooks' {told}"])
    how, differences = [], []
    for k, book in enumerate(ours):
        if k < len(theirs):
            _take_codebook(book, theirs[k])
        else:
            _empty(book)
    if len(ours) != len(theirs):
        how.append(f"{len(theirs)} -> {len(ours)} codebooks")
        if len(ours) > len(theirs):
            how.append("new ones start on the first batch")
        else:
            differences.append(f"{len(theirs) - len(ours)} of its {len(theirs)} codebooks left out")
    cards = theirs[0].card, ours[0].card
    if cards[0] != cards[1]:
        how.append(f"{cards[0]} -> {cards[1]} codes each")
        if cards[1] > cards[0]:
            how.append("new ones are revived from the first batch")
        else:
            differences.append(f"{cards[0] - cards[1]} of its {cards[0]} codes a codebook left out")
    n_taken = min(len(ours), len(theirs)) * min(cards) * ours[0].embed.shape[1]
    part = Part("codebooks", RESIZED if how else TAKEN, size, n_taken, ", ".join(how))
    return _Net([part], differences)


def _take_codebook(target: Codebook, source: Codebook) -> None:
    """Take what fits; a code that is new repeats an old one and counts as dead."""
    n = min(target.card, source.card)
    repeat = torch.arange(target.card) % source.card
    target.embed.copy_(source.embed[repeat])
    target.inited.copy_(source.inited)
    for name in ("cluster_size", "embed_avg"):
        tensor: Tensor = getattr(target, name)
        tensor.zero_()
        tensor[:n] = getattr(source, name)[:n]


def _empty(book: Codebook) -> None:
    """A codebook that adds 0 until the first batch of training starts it by k-means."""
    for tensor in (book.embed, book.embed_avg, book.cluster_size, book.inited):
        tensor.zero_()


def _same_shapes(a: nn.Module, b: nn.Module) -> bool:
    ours, theirs = a.state_dict(), b.state_dict()
    return {k: t.shape for k, t in ours.items()} == {k: t.shape for k, t in theirs.items()}


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())
