"""General MIDI programs of the band, and what each lead can do."""

from typing import NamedTuple


class Lead(NamedTuple):
    """A lead instrument: program, middle of its melodic range, and manner of playing."""

    program: int
    centre: int  # MIDI pitch
    polyphonic: bool  # may add thirds and sixths below
    sustained: bool  # breath, bow or key: long notes do not decay
    words: tuple[str, ...]  # synonyms for descriptions; the first is the label


LEADS = {
    "piano": Lead(0, 72, True, False, ("piano", "grand piano", "acoustic piano")),
    "harpsichord": Lead(6, 70, True, False, ("harpsichord", "baroque harpsichord")),
    "marimba": Lead(12, 72, True, False, ("marimba", "wooden marimba")),
    "organ": Lead(16, 79, True, True, ("organ", "drawbar organ", "Hammond-style organ")),
    "clarinet": Lead(71, 70, False, True, ("clarinet", "woody clarinet", "mellow clarinet")),
    "acoustic guitar": Lead(
        25, 64, True, False, ("acoustic guitar", "steel-string acoustic guitar")
    ),
    "electric guitar": Lead(
        29,
        64,
        False,
        True,
        ("electric guitar", "overdriven electric guitar", "lead electric guitar"),
    ),
    "violin": Lead(40, 74, False, True, ("violin", "solo violin", "fiddle-like violin")),
    "trumpet": Lead(56, 69, False, True, ("trumpet", "bright trumpet", "brassy trumpet")),
    "saxophone": Lead(66, 64, False, True, ("saxophone", "tenor saxophone", "sax")),
    "flute": Lead(73, 77, False, True, ("flute", "concert flute", "airy flute")),
    "synth lead": Lead(
        81, 70, False, True, ("synth lead", "sawtooth synth lead", "synthesizer lead")
    ),
    "square lead": Lead(
        80, 76, False, True, ("square lead", "square-wave lead", "beeping square lead")
    ),
    "pulse lead": Lead(
        84, 72, False, True, ("pulse lead", "pulse-wave lead", "buzzing pulse lead")
    ),
    "calliope": Lead(82, 79, False, True, ("calliope", "whistling calliope", "calliope synth")),
}

PROGRAMS = {
    "piano": 0,
    "electric piano": 4,
    "clavinet": 7,
    "vibraphone": 11,
    "organ": 16,
    "rock organ": 18,
    "nylon guitar": 24,
    "steel guitar": 25,
    "jazz guitar": 26,
    "clean guitar": 27,
    "muted guitar": 28,
    "overdriven guitar": 29,
    "distortion guitar": 30,
    "harp": 46,
    "strings": 48,
    "slow strings": 49,
    "synth strings": 50,
    "choir pad": 91,
    "brass": 61,
    "synth pluck": 87,
    "square wave": 80,
    "pulse wave": 84,
    "warm pad": 89,
    "new age pad": 88,
    "sweep pad": 95,
    "upright bass": 32,
    "finger bass": 33,
    "pick bass": 34,
    "slap bass": 36,
    "synth bass": 38,
    "deep synth bass": 39,
    "cello": 42,
    "contrabass": 43,
}
