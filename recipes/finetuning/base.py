"""The model that is fine-tuned: what it is made of, and where its codec is put."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from torch import nn

    from musicgen_train.musicgen import MusicGen


class CodecFacts(NamedTuple):
    """What its codec is."""

    identity: str
    sample_rate: int
    frame_rate: float
    channels: int
    n_parameters: int


@dataclass
class Base:
    """A MusicGen and the facts of it that are asked for without it."""

    name: str  # or path, as the user gave it
    identity: str  # of all its weights and settings
    n_parameters: int  # of the language model
    lm: dict[str, Any]  # its configuration
    codec: CodecFacts
    chroma: dict[str, Any] | None  # configuration of what hears melodies
    max_duration: float  # seconds of its window
    licence: str | None  # which what is made of it inherits; None if it says none
    _model: MusicGen | None

    @property
    def model(self) -> MusicGen:
        """The model itself, loaded again if it was released."""
        if self._model is None:
            from musicgen_train.formats import load_musicgen

            self._model = load_musicgen(self.name)
        return self._model

    def release(self) -> None:
        """Give its memory back, before something else needs it."""
        self._model = None


def load_base(name: str) -> Base:
    """Load any MusicGen; what is none is refused in one line."""
    from musicgen_train.evaluation.sampling import Parts
    from musicgen_train.formats import load_musicgen
    from musicgen_train.formats.models import locate
    from musicgen_train.formats.provenance import read_provenance

    try:
        model = load_musicgen(name)
    except UserError as error:
        raise UserError(f"base={name}: {error}") from None
    parts = Parts(model.codec, model.lm, model.text_encoder, model.chroma)
    codec = model.codec
    facts = CodecFacts(
        codec.identity(), codec.sample_rate, float(codec.frame_rate), codec.channels, size(codec)
    )
    chroma = None if model.chroma is None else model.chroma.config
    licence = read_provenance(locate(name).path).licence
    return Base(
        name, parts.identity, size(model.lm), model.lm.config, facts, chroma, model.max_duration,
        licence, model,
    )  # fmt: skip


def size(module: nn.Module) -> int:
    """Parameters of a module."""
    return sum(parameter.numel() for parameter in module.parameters())


def write_codec(base: Base, folder: Path) -> str:
    """Put the base's codec where tokenizing and training find it; return its identity."""
    from musicgen_train.formats import load_codec, save_codec

    identity = base.codec.identity
    try:
        if load_codec(folder).identity() == identity:
            return identity
    except UserError:  # none, or half of one
        pass
    save_codec(base.model.codec, folder)
    return identity


def training_parts(base: Base) -> dict[str, Any]:
    """The sections codec, model and conditioning of train.py's configuration, as the base is."""
    from musicgen_train.codec.stereo import StereoCodec

    model = base.model
    codec, lm = model.codec, model.lm.config
    mono = codec.mono if isinstance(codec, StereoCodec) else codec
    section = {**target(mono), **mono.config, "frame_rate": float(mono.frame_rate)}
    if isinstance(codec, StereoCodec):
        section = {
            **target(codec), "sample_rate": codec.sample_rate, "channels": codec.channels,
            "frame_rate": float(codec.frame_rate), "n_q": codec.n_q, "card": codec.card,
            "delays": lm["delays"], "mono": section,
        }  # fmt: skip
    conditions = ("text_dim", "chroma_dim", "fuse_text", "fuse_chroma", "chroma_length",
                  "chroma_rate")  # fmt: skip
    conditioning = {
        "text_encoder": _section(model.text_encoder),
        "chroma": _section(model.chroma),
        **{name: lm[name] for name in conditions},
    }
    return {"codec": section, "model": {**target(model.lm), **lm}, "conditioning": conditioning}


def _section(part: Any) -> dict[str, Any] | None:
    return None if part is None else {**target(part), **part.config}


def target(part: Any) -> dict[str, str]:
    """What Hydra instantiates to have such a part."""
    kind = type(part)
    return {"_target_": f"{kind.__module__}.{kind.__qualname__}"}
