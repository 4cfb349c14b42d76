"""Drums: a pattern for each section, crashes where sections begin, fills where phrases end."""

import random

from data_prep.demo.piece import Bar, Note
from data_prep.demo.style import DrumKit

DRUMS = {
    "kick": 36,
    "stick": 37,
    "snare": 38,
    "clap": 39,
    "hat": 42,
    "pedal": 44,
    "open": 46,
    "crash": 49,
    "ride": 51,
    "tambourine": 54,
    "cymbal": 49,
    "conga": 63,
    "timpani": 41,
    "shaker": 82,
    "triangle": 81,
}
VELOCITY = {"x": 108, "o": 82, "-": 48}
TOMS = (50, 50, 48, 47, 47, 45, 43, 41)


def play_pattern(pattern: dict[str, str], start: float, until: float) -> list[Note]:
    """One bar of sixteenths from beat `start`; hits at or after `until` beats are left out."""
    return [
        Note(start + k / 4, 0.24, DRUMS[drum], VELOCITY[mark])
        for drum, marks in pattern.items()
        for k, mark in enumerate(marks)
        if mark != "." and k / 4 < until
    ]


def play_fill(rng: random.Random, kind: str, start: float, beats: int) -> list[Note]:
    """The last beats of a phrase, from beat `start` of the bar: one or two beats."""
    length = rng.choice((1, 2))
    first = start + beats - length
    steps = range(4 * length)
    if kind == "toms":
        return [Note(first + k / 4, 0.24, TOMS[k * 8 // len(steps)], 88 + 3 * k) for k in steps]
    if kind in ("snare", "roll"):
        quiet = 56 if kind == "roll" else 70
        return [
            Note(first + k / 4, 0.24, 38, quiet + 5 * k)
            for k in steps
            if kind == "roll" or rng.random() < 0.75
        ]
    if kind == "conga":
        return [Note(first + k / 4, 0.24, rng.choice((62, 63, 64)), 80 + 3 * k) for k in steps]
    if kind == "ride":
        return [Note(first + k / 2, 0.4, 51 if k % 2 else 38, 80) for k in range(2 * length)]
    return []


def play_drums(
    rng: random.Random,
    kits: tuple[DrumKit, ...],
    fills: tuple[str, ...],
    bars: list[Bar],
    beats: int,
) -> list[Note]:
    """The whole drum part (times in beats)."""
    if not kits:
        return []
    kit = rng.choice(kits)
    fill = rng.choice(fills)
    notes: list[Note] = []
    for n, bar in enumerate(bars):
        start = n * beats
        last = bar.position == bar.length - 1
        if bar.section == "outro":
            if "kick" in kit.verse:
                notes += [Note(start, 0.5, 36, 100), Note(start, 2.0, 49, 84)]
            continue
        pattern = {"intro": kit.intro, "verse": kit.verse, "chorus": kit.chorus}[bar.section]
        filled = play_fill(rng, fill, start, beats) if last and rng.random() < 0.8 else []
        until = min((note.start for note in filled), default=start + beats) - start
        notes += play_pattern(pattern, start, until) + filled
        if (
            bar.section == "chorus"
            and bar.position == 0
            and "kick" in kit.chorus
            and fill != "none"
        ):
            notes.append(Note(start, 2.0, 49, 88))
    return notes
