"""What a composed piece is made of, before any sound exists."""

from dataclasses import dataclass, field
from typing import NamedTuple

from data_prep.demo.harmony import Chord, Key

STEMS = ("melody", "accompaniment", "bass", "drums", "vocals")


class Note(NamedTuple):
    """One note; times are beats while composing and seconds after `Piece.in_seconds`."""

    start: float
    duration: float
    pitch: int  # MIDI number
    velocity: int  # 1..127


@dataclass
class Part:
    """What one player plays."""

    stem: str
    program: int  # General MIDI program; of drums the kit
    notes: list[Note] = field(default_factory=list)
    pan: float = 0.0  # -1 left .. 1 right
    level: float = -20.0  # dB, RMS where the part sounds
    reverb: float = 0.2
    is_drum: bool = False


class Bar(NamedTuple):
    """One bar of the form: `section` is intro, verse, chorus or outro."""

    section: str
    phrase: int  # number of the phrase that the bar belongs to
    position: int  # bar within the phrase
    length: int  # bars in the phrase
    chords: tuple[Chord, ...]  # equal shares of the bar


@dataclass
class Piece:
    """A whole piece; `vocal` is a sung line (its pitch may be doubled by no instrument)."""

    key: Key
    bpm: float
    duration: float  # seconds, tail included
    bars: list[Bar]
    parts: list[Part]
    vocal: list[Note] | None = None
