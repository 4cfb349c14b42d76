"""What is measured, and by whose rules: presets of conf/protocol."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from musicgen_train.errors import UserError

METRICS = {  # name -> what it needs
    "fad": "an embedder",
    "kad": "an embedder",
    "coverage": "an embedder",
    "kl": "a tagger",
    "clap": "texts",
    "text": "the judge, and metadata or texts that say what is asked for",
    "chroma": "melodies, or real clips of the same names",
    "failures": "nothing but the clips",
    "aesthetics": "the package audiobox_aesthetics",
}
EMBEDDERS = ("vggish", "clap", "passt", "judge", "codec", "mert")
TAGGERS = ("passt", "judge")


@dataclass(frozen=True)
class Protocol:
    """One way to measure; `compat` repeats audiocraft's computations, faults included."""

    name: str
    metrics: tuple[str, ...]
    embedders: tuple[str, ...]
    tagger: str
    compat: bool = False

    def to_json(self) -> dict[str, Any]:
        """Plain values for the record."""
        return asdict(self)


def make_protocol(
    preset: Mapping[str, Any], metrics: Sequence[str] | None, embedders: Sequence[str] | None
) -> Protocol:
    """A preset with other metrics or embedders if these are given; unknown ones are refused."""
    metrics = preset["metrics"] if metrics is None else metrics
    embedders = preset["embedders"] if embedders is None else embedders
    chosen = _known("metrics", metrics, tuple(METRICS))
    listening = _known("embedders", embedders, EMBEDDERS)
    (tagger,) = _known("protocol.tagger", [preset["tagger"]], TAGGERS)
    compat = preset["compat"]
    if not isinstance(compat, bool) or (compat and tagger != "passt"):
        raise UserError(
            f"protocol.compat={compat}: give false, or true beside protocol.tagger=passt"
        )
    return Protocol(str(preset["name"]), chosen, listening, tagger, compat)


def _known(option: str, given: Any, known: tuple[str, ...]) -> tuple[str, ...]:
    if isinstance(given, str) or not isinstance(given, Sequence) or not given:
        raise UserError(f"{option}={given}: give a list like [{known[0]},{known[1]}]")
    for name in given:
        if name not in known:
            raise UserError(f"unknown name {name!r} in {option}: choose of {', '.join(known)}")
    return tuple(dict.fromkeys(given))
