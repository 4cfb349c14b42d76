"""A language model that starts from another one, of other codebooks, depth or conditions.

What is new is made to add nothing at first wherever that is possible, so that the new model starts
as the source: as many equalities as the mathematics allows. `Report.differences` says what breaks
them.
"""

from typing import NamedTuple, cast

import torch
from torch import nn

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.t5_identity import native_identity
from musicgen_train.lm.model import LanguageModel
from musicgen_train.lm.transformer import Layer
from musicgen_train.musicgen import MusicGen
from musicgen_train.training.partial.codebook_origins import (
    Origins,
    embedding_rows,
    head_rows,
    origins,
)
from musicgen_train.training.partial.layer_origins import layer_origins
from musicgen_train.training.partial.report import ANEW, LEFT_OUT, RESIZED, TAKEN, Part, Report
from musicgen_train.training.partial.text import take_text_encoder

TextEncoder = WordTextEncoder | T5TextEncoder


def take_musicgen(
    lm: LanguageModel,
    text_encoder: TextEncoder | None,
    chroma: ChromaExtractor | None,
    source: MusicGen,
    codec: Encodec | StereoCodec | None = None,
) -> Report:
    """Let `lm`, and a text encoder that has weights, start from a MusicGen; tell what was taken.

    codec: what the new model's codes are of, to tell whether they mean what the source's do.
    """
    same_text = same_text_encoder(text_encoder, source.text_encoder)
    report = take_language_model(lm, source.lm, same_text=same_text)
    parts, differences, remarks = report
    if isinstance(text_encoder, WordTextEncoder):
        part = take_text_encoder(text_encoder, source.text_encoder)
        parts.append(part)
    if chroma is not None and source.chroma is not None and chroma.config != source.chroma.config:
        differences.append("melodies are heard by another chroma extractor")
    if codec is not None and _sound(codec) != _sound(source.codec):
        remarks.append("the codes are another codec's: what each one sounds like is to be learnt")
    return Report(parts, differences, remarks)


def same_text_encoder(ours: TextEncoder | None, theirs: TextEncoder | None) -> bool:
    """Whether two text encoders give the same features, once weights are taken that can be."""
    if isinstance(ours, WordTextEncoder) and isinstance(theirs, WordTextEncoder):
        return (ours.dim, ours.vocab_size) == (theirs.dim, theirs.vocab_size)
    if isinstance(ours, T5TextEncoder) and isinstance(theirs, T5TextEncoder):
        if ours.name_or_path == theirs.name_or_path:
            return True
        names = {native_identity(x.name_or_path).name.split("/")[-1] for x in (ours, theirs)}
        return len(names) == 1
    return ours is theirs is None


@torch.no_grad()
def take_language_model(
    target: LanguageModel, source: LanguageModel, *, same_text: bool = True
) -> Report:
    """Let `target` start from `source`, whose weights may be of any type; tell what was taken.

    same_text: whether both read the same text encoder. UserError if nothing would be taken.
    """
    check_alike(target, source)
    differences: list[str] = []
    found = origins(target.delays, source.delays)
    parts = [
        *_take_codebooks(target, source, found),
        *_take_layers(target, source, differences),
        *_take_condition(target, source, "text", same_text, differences),
        *_take_condition(target, source, "chroma", True, differences),
    ]
    target.final_norm.load_state_dict(source.final_norm.state_dict())
    parts.append(_whole("final norm", target.final_norm))
    differences[:0] = _codebook_differences(target, source, found)
    return Report(parts, differences, list(found.remarks))


def check_alike(target: LanguageModel, source: LanguageModel) -> None:
    """Refuse a source none of whose weights would mean here what they meant there."""
    if target.dim != source.dim:
        raise UserError(
            f"init_from: that model is {source.dim} wide (dim), this one {target.dim}: no weight "
            f"would fit; set model.dim={source.dim}, or leave init_from out"
        )
    ours, theirs = target.config["num_heads"], source.config["num_heads"]
    if ours != theirs:
        raise UserError(
            f"init_from: that model has {theirs} attention heads, this one {ours}: its attention "
            f"would mean nothing; set model.num_heads={theirs}, or leave init_from out"
        )


def _take_codebooks(target: LanguageModel, source: LanguageModel, found: Origins) -> list[Part]:
    """Embeddings and heads, codebook by codebook."""
    target.embedding.weight.copy_(embedding_rows(source.embedding.weight, source, target, found))
    target.heads.weight.copy_(head_rows(source.heads.weight, source, target, found))
    known = sum(bool(books) for books in found.books)
    card = min(source.card, target.card)
    how = found.how
    if target.card != source.card:
        how += f"{', ' if how else ''}{source.card} -> {target.card} codes each"
        how += ", new ones as the mean" if target.card > source.card else ""
    outcome = RESIZED if how else TAKEN
    sizes = target.embedding.weight.numel(), target.heads.weight.numel()
    taken = known * (card + 1) * target.dim, known * card * target.dim
    return [
        Part(name, outcome, size, n_taken, how)
        for name, size, n_taken in zip(("embeddings", "heads"), sizes, taken, strict=True)
    ]


def _codebook_differences(
    target: LanguageModel, source: LanguageModel, found: Origins
) -> list[str]:
    told = list(found.differences)
    if found.left_out:
        told.append(f"{len(found.left_out)} of its {source.n_q} codebooks heard no more")
    if target.card > source.card:
        told.append("its new codes are possible from the start")
    for delay, books in zip(target.delays, found.books, strict=True):
        if any(source.delays[k] != delay for k in books):
            told.append(f"the delays were {source.delays}")
            break
    return told


class _Kind(NamedTuple):
    """Modules of a layer that are counted together."""

    name: str
    modules: tuple[str, ...]


_PLAIN = _Kind("layers", ("norm_self", "self_attn", "norm_ffn", "ffn"))
_CROSS = _Kind("cross-attention", ("norm_cross", "cross_attn"))


def _take_layers(
    target: LanguageModel, source: LanguageModel, differences: list[str]
) -> list[Part]:
    ours, theirs = list(target.layers), list(source.layers)
    mapping = layer_origins(len(ours), len(theirs))
    taken = {"layers": 0, "cross-attention": 0}
    for layer, origin in zip(ours, mapping, strict=True):
        n_plain, n_cross = _take_layer(cast(Layer, layer), cast(Layer, theirs[origin.layer]))
        if origin.added:
            _silence(cast(Layer, layer))
        else:
            taken["layers"] += n_plain
            taken["cross-attention"] += n_cross
    how = ""
    if len(ours) > len(theirs):
        new = [str(i + 1) for i, origin in enumerate(mapping) if origin.added]
        how = f"{len(theirs)} -> {len(ours)}; {_few(new)} are copies of the one before, silenced"
    elif len(ours) < len(theirs):
        kept = [str(origin.layer + 1) for origin in mapping]
        how = f"{len(theirs)} -> {len(ours)}; of the source's {_few(kept)} are kept"
        differences.append(f"{len(theirs) - len(ours)} of its {len(theirs)} layers left out")
    widths = target.config["ffn_mult"], source.config["ffn_mult"]
    if widths[0] != widths[1]:
        how += f"{', ' if how else ''}ffn_mult {widths[1]} -> {widths[0]}"
        how += ", new units silent" if widths[0] > widths[1] else ""
        if widths[0] < widths[1]:
            differences.append("units of the feed-forward networks are left out")
    size = _count(ours, _PLAIN)
    parts = [Part("layers", RESIZED if how else TAKEN, size, taken["layers"], how)]
    return parts + _cross_part(ours, theirs, taken["cross-attention"], bool(how))


def _cross_part(
    ours: list[nn.Module], theirs: list[nn.Module], taken: int, resized: bool
) -> list[Part]:
    here, there = _count(ours, _CROSS), _count(theirs, _CROSS)
    if here and there:
        return [Part(_CROSS.name, RESIZED if resized else TAKEN, here, taken,
                     "as the layers" if resized else "")]  # fmt: skip
    if here:
        return [Part(_CROSS.name, ANEW, here, 0, "silent at first")]
    return [Part(_CROSS.name, LEFT_OUT, there, 0)] if there else []


def _take_layer(target: Layer, source: Layer) -> tuple[int, int]:
    """Fill a layer; how many values came from the source: outside cross-attention, and in it."""
    for name in ("norm_self", "self_attn", "norm_ffn"):
        target.get_submodule(name).load_state_dict(source.get_submodule(name).state_dict())
    plain = sum(_size(target.get_submodule(n)) for n in ("norm_self", "self_attn", "norm_ffn"))
    n = min(target.ffn.up.out_features, source.ffn.up.out_features)
    target.ffn.up.weight[:n] = source.ffn.up.weight[:n].float()
    # Units that the source lacks start with weights of their own, and an output of 0.
    target.ffn.down.weight.zero_()
    target.ffn.down.weight[:, :n] = source.ffn.down.weight[:, :n].float()
    plain += 2 * n * target.ffn.up.in_features
    if not hasattr(target, "cross_attn"):
        return plain, 0
    if not hasattr(source, "cross_attn"):
        target.cross_attn.out.weight.zero_()
        return plain, 0
    for name in _CROSS.modules:
        target.get_submodule(name).load_state_dict(source.get_submodule(name).state_dict())
    return plain, sum(_size(target.get_submodule(name)) for name in _CROSS.modules)


def _silence(layer: Layer) -> None:
    """Let a layer give its input until it learns otherwise."""
    layer.self_attn.out.weight.zero_()
    layer.ffn.down.weight.zero_()
    if hasattr(layer, "cross_attn"):
        layer.cross_attn.out.weight.zero_()


def _take_condition(
    target: LanguageModel,
    source: LanguageModel,
    name: str,
    same_features: bool,
    differences: list[str],
) -> list[Part]:
    """The projection of the text or the chroma."""
    label = f"{name} projection"
    ours: nn.Linear | None = getattr(target.fuser, f"{name}_proj")
    theirs: nn.Linear | None = getattr(source.fuser, f"{name}_proj")
    here, there = target.fuser.fuse[name], source.fuser.fuse[name]
    if ours is None:
        if theirs is None:
            return []
        differences.append(f"{name} is a condition no more")
        return [Part(label, LEFT_OUT, _size(theirs), 0)]
    if theirs is None:
        return [_new_condition(target, source, name, ours, differences)]
    if here != there:
        differences.append(f"{name} enters by {here}, there by {there}")
    elif name == "chroma" and here == "sum" and target.chroma_rate != source.chroma_rate:
        differences.append(f"chroma_rate was {source.chroma_rate:g}")
    elif name == "chroma" and here != "sum":
        lengths = [lm.config["chroma_length"] for lm in (target, source)]
        if lengths[0] != lengths[1]:
            differences.append(f"an absent melody was {lengths[1]} frames long")
    same_features &= ours.in_features == theirs.in_features
    # Added to every step, what was made to be attended to would drown the codes.
    if same_features and (here == there or here != "sum"):
        ours.load_state_dict(theirs.state_dict())
        how = "" if here == there else f"{there} -> {here}"
        return [_whole(label, ours, how)]
    if not same_features:
        differences.append(f"{name} has other features")
    why = f"{there} -> {here}" if same_features else "other features"
    return [_anew(label, ours, here, why)]


def _new_condition(
    target: LanguageModel,
    source: LanguageModel,
    name: str,
    projection: nn.Linear,
    differences: list[str],
) -> Part:
    """A condition that the source lacks: silent where it is added, or newly attended to."""
    place = target.fuser.fuse[name]
    if place == "prepend":
        differences.append(f"{name} stands in front of the music")
    elif place == "cross" and source.fuser.cross_attention:
        differences.append(f"{name} is attended to by what was learnt for another condition")
    return _anew(f"{name} projection", projection, place, "new")


def _anew(label: str, projection: nn.Linear, place: str, why: str) -> Part:
    if place == "sum":
        projection.weight.zero_()
        projection.bias.zero_()
        why += ", silent at first"
    return Part(label, ANEW, _size(projection), 0, why)


def _sound(codec: Encodec | StereoCodec) -> str:
    """What a codec's codes mean, whether it has them once or for two sides."""
    return (codec.mono if isinstance(codec, StereoCodec) else codec).identity()


def _whole(name: str, module: nn.Module, how: str = "") -> Part:
    return Part(name, TAKEN, _size(module), _size(module), how)


def _size(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters())


def _count(layers: list[nn.Module], kind: _Kind) -> int:
    return sum(
        _size(module)
        for layer in layers
        for name, module in layer.named_children()
        if name in kind.modules
    )


def _few(numbers: list[str]) -> str:
    """A list that fits into a table."""
    return ", ".join(numbers if len(numbers) <= 6 else [*numbers[:4], "…", numbers[-1]])
