"""The language model's tensors under the names of audiocraft and of transformers.

A layout is a list of pieces: tensors of ours and tensors of theirs that are the same rows, cut
elsewhere. Both ways of going from one to the other are then the same few lines.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.lm_building import check_tensors, fill_lm
from musicgen_train.lm.inference import check_unrounded
from musicgen_train.lm.model import LanguageModel


class Piece(NamedTuple):
    """Tensors which, each side joined along the first dimension, are equal."""

    ours: tuple[str, ...]
    theirs: tuple[str, ...]  # all with the same number of rows


def audiocraft_pieces(lm: LanguageModel) -> list[Piece]:
    """audiocraft's names for the tensors of this language model."""
    pieces = _outside(lm, {
        "embedding": "emb.{}.weight",
        "heads": "linears.{}.weight",
        "final_norm": "out_norm",
        "fuser.text_proj": "condition_provider.conditioners.description.output_proj",
        "fuser.chroma_proj": "condition_provider.conditioners.self_wav.output_proj",
    })  # fmt: skip
    for i in range(len(lm.layers)):
        ours, theirs = f"layers.{i}", f"transformer.layers.{i}"
        pieces += _renamed({
            f"{ours}.self_attn.qkv.weight": f"{theirs}.self_attn.in_proj_weight",
            f"{ours}.self_attn.out.weight": f"{theirs}.self_attn.out_proj.weight",
            f"{ours}.ffn.up.weight": f"{theirs}.linear1.weight",
            f"{ours}.ffn.down.weight": f"{theirs}.linear2.weight",
            **_affine(f"{ours}.norm_self", f"{theirs}.norm1"),
            **_affine(f"{ours}.norm_ffn", f"{theirs}.norm2"),
        })  # fmt: skip
        if lm.fuser.cross_attention:
            cross = (f"{ours}.cross_attn.q.weight", f"{ours}.cross_attn.kv.weight")
            pieces.append(Piece(cross, (f"{theirs}.cross_attention.in_proj_weight",)))
            pieces += _renamed({
                f"{ours}.cross_attn.out.weight": f"{theirs}.cross_attention.out_proj.weight",
                **_affine(f"{ours}.norm_cross", f"{theirs}.norm_cross"),
            })  # fmt: skip
    return pieces


def transformers_pieces(lm: LanguageModel) -> list[Piece]:
    """The names for the tensors of this language model inside transformers' MusicGens."""
    decoder = "decoder.model.decoder"
    pieces = _outside(lm, {
        "embedding": f"{decoder}.embed_tokens.{{}}.weight",
        "heads": "decoder.lm_heads.{}.weight",
        "final_norm": f"{decoder}.layer_norm",
        "fuser.text_proj": "enc_to_dec_proj",
        "fuser.chroma_proj": "audio_enc_to_dec_proj",
    })  # fmt: skip
    for i in range(len(lm.layers)):
        ours, theirs = f"layers.{i}", f"{decoder}.layers.{i}"
        parts = [f"{theirs}.self_attn.{part}_proj.weight" for part in "qkv"]
        pieces.append(Piece((f"{ours}.self_attn.qkv.weight",), tuple(parts)))
        pieces += _renamed({
            f"{ours}.self_attn.out.weight": f"{theirs}.self_attn.out_proj.weight",
            f"{ours}.ffn.up.weight": f"{theirs}.fc1.weight",
            f"{ours}.ffn.down.weight": f"{theirs}.fc2.weight",
            **_affine(f"{ours}.norm_self", f"{theirs}.self_attn_layer_norm"),
            **_affine(f"{ours}.norm_ffn", f"{theirs}.final_layer_norm"),
        })  # fmt: skip
        if lm.fuser.cross_attention:
            parts = [f"{theirs}.encoder_attn.{part}_proj.weight" for part in "kv"]
            pieces.append(Piece((f"{ours}.cross_attn.kv.weight",), tuple(parts)))
            pieces += _renamed({
                f"{ours}.cross_attn.q.weight": f"{theirs}.encoder_attn.q_proj.weight",
                f"{ours}.cross_attn.out.weight": f"{theirs}.encoder_attn.out_proj.weight",
                **_affine(f"{ours}.norm_cross", f"{theirs}.encoder_attn_layer_norm"),
            })  # fmt: skip
    return pieces


def to_layout(lm: LanguageModel, pieces: Sequence[Piece]) -> dict[str, Tensor]:
    """The language model's tensors, in float32, under the names of a layout."""
    check_unrounded(lm)
    state = lm.state_dict()
    if state.keys() != {name for piece in pieces for name in piece.ours}:
        raise UserError(
            "this language model was changed for faster inference: load it again with load_lm"
        )
    renamed = {}
    for ours, theirs in pieces:
        parts = _join([state[name].float() for name in ours]).chunk(len(theirs))
        renamed.update(zip(theirs, parts, strict=True))
    return renamed


def from_layout(
    lm: LanguageModel, state: dict[str, Tensor], pieces: Sequence[Piece], source: Path
) -> LanguageModel:
    """Fill an empty language model from a layout; `state` is used up, to save memory."""
    check_tensors(state, to_layout(lm, pieces), source)
    shapes = lm.state_dict()
    renamed = {}
    for ours, theirs in pieces:
        whole = _join([state.pop(name) for name in theirs])
        parts = whole.split([len(shapes[name]) for name in ours])
        renamed.update(zip(ours, parts, strict=True))
    return fill_lm(lm, renamed, source)


def _outside(lm: LanguageModel, names: dict[str, str]) -> list[Piece]:
    """What stands outside the layers: codebooks one by one, the last norm, the projections."""
    pieces = []
    for ours in ("embedding", "heads"):
        theirs = tuple(names[ours].format(k) for k in range(lm.n_q))
        pieces.append(Piece((f"{ours}.weight",), theirs))
    pieces += _renamed(_affine("final_norm", names["final_norm"]))
    for ours, projection in (
        ("fuser.text_proj", lm.fuser.text_proj),
        ("fuser.chroma_proj", lm.fuser.chroma_proj),
    ):
        if projection is not None:
            pieces += _renamed(_affine(ours, names[ours]))
    return pieces


def _affine(ours: str, theirs: str) -> dict[str, str]:
    return {f"{ours}.{name}": f"{theirs}.{name}" for name in ("weight", "bias")}


def _renamed(names: dict[str, str]) -> list[Piece]:
    return [Piece((ours,), (theirs,)) for ours, theirs in names.items()]


def _join(parts: list[Tensor]) -> Tensor:
    return parts[0] if len(parts) == 1 else torch.cat(parts)
