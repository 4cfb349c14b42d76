"""A model whose melody is added to its steps, as the one for texts alone that it also is."""

from pathlib import Path

import torch

from musicgen_train.errors import UserError
from musicgen_train.formats.files import to_plain
from musicgen_train.formats.lm_building import build_lm
from musicgen_train.lm.fusing import null_chroma
from musicgen_train.lm.inference import check_unrounded
from musicgen_train.musicgen import MusicGen

_MELODY = ("chroma_dim", "chroma_length", "chroma_rate", "fuse_chroma")  # arguments of the model


@torch.no_grad()
def without_melody(model: MusicGen) -> MusicGen:
    """A copy that takes no melody, and computes what `model` does when it is given none.

    What is then added to every step is one vector. A step is the sum of a code's embedding of each
    codebook, so the vector goes into all embeddings of the first. A melody that does not enter so
    is a `UserError`.
    """
    lm = model.lm
    check_unrounded(lm)
    if lm.fuser.chroma_proj is None:
        raise UserError("this model takes no melody: leave --without-melody out")
    if lm.config["fuse_chroma"] != "sum":
        raise UserError(
            "only a melody that is added to the steps can be left out, and this model has "
            f"fuse_chroma {lm.config['fuse_chroma']!r}: leave --without-melody out"
        )
    state = to_plain(lm.state_dict())
    projection = lm.fuser.chroma_proj
    silence = projection(null_chroma(1, 1, projection.in_features).to(projection.weight))[0, 0]
    state["embedding.weight"][: lm.card + 1] += silence.cpu()  # the special token's row is the last
    for name in ("weight", "bias"):
        del state[f"fuser.chroma_proj.{name}"]
    config = {name: value for name, value in lm.config.items() if name not in _MELODY}
    plain = build_lm(config, state, Path(model.name))
    return MusicGen(
        model.name, model.codec, plain, model.text_encoder, max_duration=model.max_duration
    )
