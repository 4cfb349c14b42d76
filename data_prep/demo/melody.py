"""Melodies: motifs that repeat and vary over the chords, phrase by phrase."""

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from data_prep.demo.harmony import Chord, Key, melody_pitch
from data_prep.demo.piece import Bar, Note

Cells = Sequence[tuple[float, tuple[float, ...]]]


class Motif(NamedTuple):
    """One bar of melody without its harmony: onsets and durations (beats), moves in scale steps."""

    rhythm: tuple[tuple[float, float], ...]
    moves: tuple[int, ...]


def draw_rhythm(rng: random.Random, cells: Cells, beats: int) -> tuple[tuple[float, float], ...]:
    """Fill a bar with cells; at least one note sounds."""
    rhythm: list[tuple[float, float]] = []
    while not rhythm:
        position = 0.0
        while position < beats - 1e-6:
            fitting = [(w, c) for w, c in cells if sum(map(abs, c)) <= beats - position + 1e-6] or [
                (1.0, (beats - position,))
            ]
            cell = rng.choices([c for _, c in fitting], [w for w, _ in fitting])[0]
            for length in cell:
                if length > 0:
                    rhythm.append((position, length))
                position += abs(length)
    return tuple(rhythm)


def draw_motif(rng: random.Random, cells: Cells, beats: int) -> Motif:
    """A new motif: mostly steps, leaps are answered by a move back."""
    rhythm = draw_rhythm(rng, cells, beats)
    moves = []
    for _ in rhythm:
        previous = moves[-1] if moves else 0
        if abs(previous) >= 3:
            moves.append(rng.choice((1, 1, 2)) * (-1 if previous > 0 else 1))
        else:
            moves.append(
                rng.choices((-4, -3, -2, -1, 0, 1, 2, 3, 4), (1, 2, 5, 9, 3, 9, 5, 2, 1))[0]
            )
    return Motif(rhythm, tuple(moves))


def vary(rng: random.Random, motif: Motif, cells: Cells, beats: int) -> Motif:
    """An answer to a motif: its first half is kept, the second half is new or mirrored."""
    half = beats / 2
    kept = [
        (r, m) for r, m in zip(motif.rhythm, motif.moves, strict=True) if r[0] + r[1] <= half + 1e-6
    ]
    if rng.random() < 0.4 or not kept:
        return Motif(motif.rhythm, tuple(-m for m in motif.moves))
    fresh = draw_motif(rng, cells, beats)
    start = max(r[0] + r[1] for r, _ in kept)
    kept += [(r, m) for r, m in zip(fresh.rhythm, fresh.moves, strict=True) if r[0] >= start - 1e-6]
    return Motif(tuple(r for r, _ in kept), tuple(m for _, m in kept))


def cadence(rng: random.Random, beats: int, motif: Motif) -> Motif:
    """The end of a phrase: a short approach from the motif, then a long note."""
    landing = rng.choice((0.0, 1.0, 2.0) if beats > 3 else (0.0, 1.0))
    approach = [
        (r, m)
        for r, m in zip(motif.rhythm, motif.moves, strict=True)
        if r[0] + r[1] <= landing + 1e-6
    ]
    rest = rng.choice((0.5, 1.0))
    rhythm = (*(r for r, _ in approach), (landing, beats - landing - rest))
    return Motif(rhythm, (*(m for _, m in approach), rng.choice((-1, 0, 1))))


def phrase_motifs(rng: random.Random, cells: Cells, beats: int, length: int) -> list[Motif]:
    """Motifs of a phrase: a, a b a c in four bars, the last one a cadence."""
    first = draw_motif(rng, cells, beats)
    answer = vary(rng, first, cells, beats)
    body = [first if k % 2 == 0 else answer for k in range(length - 1)]
    return [*body, cadence(rng, beats, body[-1] if body else first)]


def chord_at(bar: Bar, onset: float, beats: int) -> Chord:
    """The chord that sounds at an onset (beats) within the bar."""
    return bar.chords[min(int(onset * len(bar.chords) / beats), len(bar.chords) - 1)]


class Singer:
    """Turns motifs into pitches: keeps the line in range and strong beats on chord tones."""

    def __init__(self, key: Key, centre: int, pentatonic: bool, rng: random.Random):
        self.key, self.pentatonic, self.rng = key, pentatonic, rng
        self.middle = min(range(0, 80), key=lambda i: abs(key.pitch(i) - centre))
        self.index = self.middle

    def step(self, move: int, chord: Chord, strong: bool, lift: int) -> int:
        """Scale index after a move; `lift` shifts the comfortable range in scale steps."""
        middle = self.middle + lift
        if abs(self.index + move - middle) > 6:
            move = -move
        index = self.index + move
        if index - middle > 7 or middle - index > 7:
            index += -2 if index > middle else 2
        allowed = [i for i in range(index - 3, index + 4) if self._fits(i, chord, strong)]
        self.index = (
            min(allowed, key=lambda i: (self._cost(i, index, strong), i)) if allowed else index
        )
        return self.index

    def _cost(self, index: int, target: int, strong: bool) -> float:
        """Distance from where the motif points; strong beats lean to the tonic and its fifth."""
        home = 0.9 if strong and index % 7 == 0 else 0.4 if strong and index % 7 == 4 else 0.0
        return abs(index - target) + 0.1 * abs(index - self.middle) - home

    def _fits(self, index: int, chord: Chord, strong: bool) -> bool:
        if strong:
            return melody_pitch(self.key, index, chord) % 12 in chord.pcs[:4]
        avoided = (3, 6) if self.key.family == "major" else (1, 5)
        return not (self.pentatonic and index % 7 in avoided)

    def land(self, chord: Chord, final: bool) -> int:
        """Scale index of a cadence: the tonic at the end, else a root, third or fifth."""
        wanted = (self.key.tonic,) if final else chord.pcs[:3]
        near = range(self.index - 4, self.index + 5)
        fits = [i for i in near if melody_pitch(self.key, i, chord) % 12 in wanted]
        self.index = min(fits, key=lambda i: (abs(i - self.index), abs(i - self.middle), i))
        return self.index


def realise(
    singer: Singer, motif: Motif, bar: Bar, start: float, beats: int, *, ends: bool, final: bool
) -> list[Note]:
    """Notes of one bar, from beat `start` of the piece; `ends` marks the bar of a cadence."""
    lift = 2 if bar.section == "chorus" else 0
    notes = []
    for k, ((onset, length), move) in enumerate(zip(motif.rhythm, motif.moves, strict=True)):
        chord = chord_at(bar, onset, beats)
        strong = onset % 2 == 0 or length >= 1.0 or (beats == 3 and onset == 0)
        if ends and k == len(motif.rhythm) - 1:
            index = singer.land(chord, final)
        else:
            index = singer.step(move, chord, strong, lift)
        pitch = melody_pitch(singer.key, index, chord)
        accent = 8 if onset == 0 else 3 if onset == int(onset) else -4
        loud = 88 if bar.section == "chorus" else 80
        notes.append(Note(start + onset, length, pitch, loud + accent))
    return notes


def compose_melody(
    rng: random.Random,
    key: Key,
    bars: list[Bar],
    beats: int,
    cells: Mapping[str, Cells],
    centre: int,
    pentatonic: bool,
) -> list[Note]:
    """The whole line: sections of one kind share their motifs, so that they are recognised."""
    singer = Singer(key, centre, pentatonic, rng)
    motifs: dict[tuple[str, int], list[Motif]] = {}
    openings: dict[str, int] = {}
    times: dict[str, int] = {}
    notes: list[Note] = []
    for n, bar in enumerate(bars):
        chord = bar.chords[-1]
        if bar.section == "outro":
            notes.append(
                Note(n * beats, beats - 0.5, melody_pitch(key, singer.land(chord, True), chord), 84)
            )
        if bar.section not in cells:
            continue
        if bar.position == 0:
            times[bar.section] = times.get(bar.section, 0) + 1
            singer.index = openings.setdefault(
                bar.section, singer.middle + rng.choice((-2, -1, 0, 1, 2))
            )
        kind = (bar.section, bar.length)
        if kind not in motifs:
            motifs[kind] = phrase_motifs(rng, cells[bar.section], beats, bar.length)
        ends = bar.position == bar.length - 1
        closed = key.tonic in chord.pcs and times[bar.section] % 2 == 0
        notes += realise(
            singer, motifs[kind][bar.position], bar, n * beats, beats, ends=ends, final=closed
        )
    return notes
