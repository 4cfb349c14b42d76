"""Bass lines: patterns on chord tones, or a walking bass."""

import random

from data_prep.demo.harmony import SCALES, Chord, Key, nearest
from data_prep.demo.piece import Bar, Note
from data_prep.demo.style import BassHit

LOWEST, HIGHEST = 28, 50  # E1 to D3


def fold(pitch: int) -> int:
    """Bring a pitch into the range of the instrument by octaves."""
    while pitch < LOWEST:
        pitch += 12
    while pitch > HIGHEST:
        pitch -= 12
    return pitch


def approach(key: Key, target: int, current: int) -> int:
    """The scale note next to `target`, from the side where the line is."""
    scale = {(key.tonic + s) % 12 for s in SCALES[key.mode]}
    step = -1 if current <= target else 1
    return next(target + step * k for k in (1, 2, 3) if (target + step * k) % 12 in scale)


def tone(token: str, root: int, chord: Chord, key: Key, target: int) -> int:
    """Pitch of a pattern's token over a chord whose root sounds at `root`."""
    if token == "a":
        return fold(approach(key, target, root))
    intervals = {
        "R": 0,
        "8": 12,
        "3": (chord.pcs[1] - chord.root) % 12,
        "5": (chord.pcs[2] - chord.root) % 12,
    }
    pitch = root + intervals[token]
    return pitch if pitch <= HIGHEST + 5 else pitch - 12


def walk(
    rng: random.Random, chord: Chord, key: Key, root: int, target: int, beats: int
) -> list[int]:
    """A bar of walking bass: root, chord tones, an approach to the next root."""
    third, fifth = (root + (chord.pcs[k] - chord.root) % 12 for k in (1, 2))
    middle = rng.choice(([third, fifth], [fifth, third], [root + 12, fifth], [third, root]))
    line = [root, *middle][: beats - 1]
    return [fold(p) for p in (*line, approach(key, target, line[-1]))]


def play_bass(
    rng: random.Random,
    key: Key,
    bars: list[Bar],
    beats: int,
    patterns: tuple[tuple[BassHit, ...], ...] | None,
) -> list[Note]:
    """The whole bass line (times in beats); silent in the first bar of the intro."""
    pattern = rng.choice(patterns) if patterns else None
    chords = [chord for bar in bars for chord in bar.chords]
    previous, seen = 36, 0
    notes: list[Note] = []
    for n, bar in enumerate(bars):
        share = beats / len(bar.chords)
        for k, chord in enumerate(bar.chords):
            seen += 1
            root = fold(nearest(chord.root, previous))
            following = chords[min(seen, len(chords) - 1)]
            target = fold(nearest(following.root, root))
            previous = root
            start = n * beats
            if bar.section == "intro" and bar.position == 0 and bar.length > 1:
                continue
            if bar.section == "outro":
                notes.append(Note(start, beats, root, 90))
            elif pattern is None:
                line = walk(rng, chord, key, root, target, beats)
                notes += [
                    Note(start + b, 0.92, p, 92 if b % 2 == 0 else 86) for b, p in enumerate(line)
                ]
            else:
                notes += [
                    Note(start + b, d, tone(t, root, chord, key, target), 96 if b == int(b) else 88)
                    for b, d, t in pattern
                    if k * share <= b < (k + 1) * share
                ]
    return notes
