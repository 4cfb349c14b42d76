"""That an exported checkpoint computes what it was made from, in the library it is meant for."""

import importlib.metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats.codecs import load_codec
from musicgen_train.formats.foreign_models import (
    audiocraft_logits,
    load_transformers,
    target_library,
    transformers_logits,
    transformers_text_states,
)
from musicgen_train.formats.models import load_musicgen
from musicgen_train.formats.probing import Probe, probe
from musicgen_train.musicgen import MusicGen

TOLERANCE = 1e-4  # of the largest number
_SENTENCE = "calm piano with soft strings"


class Pair(NamedTuple):
    """Numbers of the export and of what it was made from, which should be equal."""

    what: str
    got: Tensor
    expected: Tensor


@torch.no_grad()
def verify_musicgen(
    model: MusicGen, folder: Path, layout: str, origin: MusicGen | None = None
) -> str:
    """Load `folder` again and compare what it computes; the report in a line, or a `UserError`.

    origin: what `model` was made from by leaving its melody out, and has to compute the same as.
    """
    inputs = probe(model.lm)
    expected = inputs.logits((origin or model).lm)
    library, pairs = target_library(layout), []
    if library == "transformers":
        pairs = _pairs_of_transformers(model, folder, inputs, expected)
    elif library == "audiocraft":
        got = audiocraft_logits(folder, inputs, model.lm)
        pairs = [] if got is None else [Pair("logits", got, expected)]
    if not pairs:
        got = inputs.logits(load_musicgen(folder).lm)
        library, pairs = None, [Pair("logits", got, expected)]
    report = compare(pairs, layout, library)
    if _mono(load_codec(folder)).identity() != _mono(model.codec).identity():
        raise UserError("the codec came back changed: nothing was written; report this as a fault")
    return report


@torch.no_grad()
def verify_codec(codec: Encodec | StereoCodec, folder: Path, layout: str) -> str:
    """Load `folder` again; compare latents and decoded audio."""
    library = "transformers" if target_library(layout) == "transformers" else None
    if library is not None:
        from transformers import EncodecModel

        loaded: Any = EncodecModel.from_pretrained(folder, dtype=torch.float32).eval()
    else:
        loaded = _mono(load_codec(folder))
    return compare([_pair_of_codecs(loaded, _mono(codec))], layout, library)


def _pairs_of_transformers(
    model: MusicGen, folder: Path, inputs: Probe, expected: Tensor
) -> list[Pair]:
    """What all three parts of the composite compute: language model, codec, text encoder."""
    theirs = load_transformers(folder, model.lm)
    assert model.text_encoder is not None, "transformers has no MusicGen without a text encoder"
    return [
        Pair("logits", transformers_logits(theirs, inputs, model.lm), expected),
        _pair_of_codecs(theirs.audio_encoder, _mono(model.codec)),
        Pair(
            "text states",
            transformers_text_states(theirs, folder, _SENTENCE),
            model.text_encoder([_SENTENCE])[0],
        ),
    ]


def _pair_of_codecs(loaded: Any, mono: Encodec) -> Pair:
    """Latents of random audio, audio of random latents; codebooks have to be equal.

    loaded: ours, or an `EncodecModel` of transformers, whose parts have the same names.
    """
    rng = torch.Generator().manual_seed(0)
    wav = torch.randn(1, mono.channels, 16 * mono.hop_length, generator=rng) / 4
    latents = torch.randn(1, mono.config["dimension"], 16, generator=rng)
    theirs = loaded.quantizer
    for k, codebook in enumerate(mono.quantizer.codebooks):
        other = theirs.codebooks[k] if isinstance(loaded, Encodec) else theirs.layers[k].codebook
        if not torch.equal(other.embed, codebook.embed):
            raise UserError(f"codebook {k} came back changed: report this as a fault")
    got, expected = (
        torch.cat([each.encoder(wav).flatten(), each.decoder(latents).flatten()])
        for each in (loaded, mono)
    )
    return Pair("latents and audio", got, expected)


def _mono(codec: Encodec | StereoCodec) -> Encodec:
    return codec.mono if isinstance(codec, StereoCodec) else codec


def compare(pairs: list[Pair], layout: str, library: str | None) -> str:
    """A line about all pairs, or a `UserError` about the first that differs."""
    reader = f"{library} {importlib.metadata.version(library)}" if library else "musicgen_train"
    largest = 0.0
    for what, got, expected in pairs:
        if got.shape != expected.shape:
            reason = f"shape {list(got.shape)}, not {list(expected.shape)}"
        else:
            difference = float((got - expected).abs().max())
            largest = max(largest, difference)
            if difference <= TOLERANCE * float(expected.abs().max()):
                continue
            reason = f"largest difference {difference:.2g}"
        raise UserError(f"{reader} computes other {what} from the export ({reason}): nothing was "
                        "written; report this as a fault")  # fmt: skip
    same = ", ".join(pair.what for pair in pairs)
    missing = "" if library or layout == "native" else f"; {layout} is not here, or lacks its T5"
    return f"{reader} computes the same {same} (largest difference {largest:.1e}{missing})"
