"""Weights in half precision: what a file of half the size costs."""

from copy import deepcopy

import torch
from torch import Tensor, nn

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.text import WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.formats.probing import probe
from musicgen_train.musicgen import MusicGen

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}
_TEXTS = ["calm piano with soft strings", "loud drums and fast guitars"]  # of as many words


def stored_as(tensor: Tensor, dtype: str) -> Tensor:
    """Weights in the precision of a file; what overflows there is a `UserError`."""
    stored = tensor.detach().to(DTYPES[dtype])
    if bool(tensor.isfinite().all()) and not bool(stored.isfinite().all()):
        raise UserError(f"a weight is too large for {dtype}: use bfloat16 or float32")
    return stored


@torch.no_grad()
def round_weights(model: MusicGen, dtype: str) -> str:
    """Give a model the weights that a file of `dtype` holds; say what that changes.

    These are the weights of the language model and of a text encoder that is trained with it.
    """
    before = _logits(model)
    trained: list[nn.Module] = [model.lm]
    if isinstance(model.text_encoder, WordTextEncoder):
        trained.append(model.text_encoder)
    for part in trained:
        for parameter in part.parameters():
            parameter.copy_(stored_as(parameter, dtype))
    change = float((_logits(model) - before).abs().max() / before.abs().max())
    return f"{dtype}: rounding the weights changes logits by up to {change:.1e} of the largest"


@torch.no_grad()
def rounded_codec(codec: Encodec | StereoCodec) -> Encodec | StereoCodec:
    """A copy whose weights are exact in float16, so that its file is half as large.

    It is another codec: it has an identity of its own, and some codes differ. So tokens and a
    language model are made with the rounded one.
    """
    if isinstance(codec, StereoCodec):
        mono = rounded_codec(codec.mono)
        assert isinstance(mono, Encodec), f"a stereo codec of {type(mono).__name__}"
        return StereoCodec(mono)
    rounded = deepcopy(codec)
    for parameter in rounded.parameters():
        parameter.copy_(stored_as(parameter, "float16"))
    for book in rounded.quantizer.codebooks:
        book.embed.copy_(stored_as(book.embed, "float16"))
        # So that training goes on from these centroids, and a file can leave the sums out.
        book.embed_avg.copy_(book.embed * book.cluster_size[:, None])
    return rounded


def _logits(model: MusicGen) -> Tensor:
    """Logits that depend on all the weights that are rounded: [2, K, T, card]."""
    inputs = probe(model.lm)
    if isinstance(model.text_encoder, WordTextEncoder) and inputs.text is not None:
        inputs = inputs._replace(text=model.text_encoder(_TEXTS)[0])
    return inputs.logits(model.lm)
