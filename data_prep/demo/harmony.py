"""Keys, diatonic chords and voice leading."""

from collections.abc import Sequence
from itertools import pairwise
from typing import NamedTuple

SCALES = {
    "major": (0, 2, 4, 5, 7, 9, 11),
    "minor": (0, 2, 3, 5, 7, 8, 10),
    "dorian": (0, 2, 3, 5, 7, 9, 10),
    "mixolydian": (0, 2, 4, 5, 7, 9, 10),
}
TONICS = {
    "major": ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B"),
    "minor": ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B"),
}


class Key(NamedTuple):
    """A tonic (pitch class) and a mode of SCALES."""

    tonic: int
    mode: str

    @property
    def family(self) -> str:
        """Major or minor, by the third of the scale."""
        return "major" if SCALES[self.mode][2] == 4 else "minor"

    @property
    def label(self) -> str:
        """The name in the sidecar, such as "F# minor"; modes are named by their third."""
        return f"{TONICS[self.family][self.tonic]} {self.family}"

    def pitch(self, index: int) -> int:
        """MIDI pitch of a scale index; index 0 is the tonic of octave -1, 7 an octave up."""
        octave, degree = divmod(index, 7)
        return 12 * octave + self.tonic + SCALES[self.mode][degree]


class Chord(NamedTuple):
    """Pitch classes stacked in thirds from the root; `leading` is a raised seventh or None."""

    degree: int  # 1..7
    pcs: tuple[int, ...]
    leading: int | None

    @property
    def root(self) -> int:
        """Pitch class of the root."""
        return self.pcs[0]


def diatonic_chord(key: Key, degree: int, size: int = 3) -> Chord:
    """Chord on a scale degree (1..7); 5 in minor gets a leading tone, -5 stays natural."""
    scale = SCALES[key.mode]
    natural, degree = degree < 0, abs(degree)
    steps = [scale[(degree - 1 + 2 * k) % 7] for k in range(size)]
    leading = None
    if degree == 5 and key.mode == "minor" and not natural:
        steps[1] = 11
        leading = (key.tonic + 11) % 12
    return Chord(degree, tuple((key.tonic + step) % 12 for step in steps), leading)


def melody_pitch(key: Key, index: int, chord: Chord) -> int:
    """MIDI pitch of a scale index, with the seventh raised where the chord raises it."""
    pitch = key.pitch(index)
    raised = chord.leading is not None and (pitch + 1) % 12 == chord.leading
    return pitch + 1 if raised else pitch


def nearest(pc: int, target: int) -> int:
    """The MIDI pitch of class `pc` closest to `target` (the lower one of two)."""
    return target - 6 + (pc - target + 6) % 12


def voice(chord: Chord, previous: Sequence[int] | None, centre: int) -> tuple[int, ...]:
    """Close or open voicing that moves least from the previous one and stays near `centre`."""
    anchor = sorted(previous) if previous else None
    candidates = []
    for inversion in range(len(chord.pcs)):
        pcs = chord.pcs[inversion:] + chord.pcs[:inversion]
        for base in (centre - 12, centre - 6, centre, centre + 6):
            pitches = [nearest(pcs[0], base)]
            for pc in pcs[1:]:
                pitches.append(pitches[-1] + (pc - pitches[-1]) % 12)
            candidates.append(tuple(pitches))

    def cost(pitches: tuple[int, ...]) -> tuple[float, tuple[int, ...]]:
        away = abs(sum(pitches) / len(pitches) - centre)
        moves = 0.0
        if anchor:
            moves = sum(min(abs(p - q) for q in anchor) for p in pitches) / len(pitches)
        mud = sum(max(0, 52 - p) for p in pitches) + sum(b - a < 2 for a, b in pairwise(pitches))
        return (0.35 * away + moves + mud, pitches)

    return min(candidates, key=cost)
