"""What makes a genre: the vocabulary that the composer draws from."""

from dataclasses import dataclass

Hit = tuple[float, float, float]  # beat in the bar, duration in beats, strength 0..1
BassHit = tuple[float, float, str]  # beat, duration, R root, 5 fifth, 8 octave, 3 third, a approach


@dataclass(frozen=True)
class Layer:
    """One accompanying player: `kind` is block, strum, arpeggio or pad."""

    programs: tuple[str, ...]
    kind: str
    patterns: tuple[tuple[Hit, ...], ...]
    centre: int = 60
    level: float = -25.0
    sections: tuple[str, ...] = ("intro", "verse", "chorus", "outro")


@dataclass(frozen=True)
class DrumKit:
    """Patterns of one bar: a string per drum; x accent, o normal, - ghost, . rest."""

    verse: dict[str, str]
    chorus: dict[str, str]
    intro: dict[str, str]


@dataclass(frozen=True)
class Style:
    """A genre's tempo, harmony, rhythm and instruments."""

    name: str
    words: tuple[str, ...]  # synonyms for descriptions
    bpm: tuple[int, int]
    beats: int  # per bar
    modes: dict[str, float]  # mode -> weight
    verse: dict[str, tuple[tuple[int, ...], ...]]  # major or minor -> progressions, one chord a bar
    chorus: dict[str, tuple[tuple[int, ...], ...]]
    chord_size: int  # 3 triads, 4 sevenths
    leads: tuple[str, ...]
    layers: tuple[tuple[Layer, ...], ...]  # for every player the choices; "sections" limits it
    bass_programs: tuple[str, ...]
    bass: tuple[tuple[BassHit, ...], ...] | None  # None: walking bass
    drums: tuple[DrumKit, ...]  # empty: no drums
    cells: tuple[tuple[float, tuple[float, ...]], ...]  # weight, durations (negative: rest)
    chorus_cells: tuple[tuple[float, tuple[float, ...]], ...]
    moods: tuple[str, ...]
    dominant_seventh: bool = False  # on triads too: it points home more clearly
    swing: float = 0.5  # where the second half of `swing_unit` begins
    swing_unit: float = 1.0  # beats
    looseness: float = 0.006  # seconds, standard deviation of onsets
    pentatonic: float = 0.0  # probability that the melody avoids the fourth and seventh degree
    reverb: float = 0.2
    reverb_time: float = 1.2  # seconds
    bass_level: float = -22.0
    drum_level: float = -22.0
    drum_program: int = 0  # the kit: 25 is a drum machine
    fills: tuple[str, ...] = ("toms", "snare")


def every(step: float, length: float, beats: int, accent: int = 2) -> tuple[Hit, ...]:
    """Even hits through a bar, every `accent`-th one stronger."""
    count = round(beats / step)
    return tuple((k * step, length, 0.9 if k % accent == 0 else 0.7) for k in range(count))


def held(beats: int) -> tuple[Hit, ...]:
    """One chord that lasts the bar."""
    return ((0.0, float(beats), 0.7),)
