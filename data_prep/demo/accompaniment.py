"""Chords for the band: blocks, strums, arpeggios, power chords and pads."""

import random

from data_prep.demo.harmony import Chord, nearest, voice
from data_prep.demo.piece import Bar, Note
from data_prep.demo.style import Hit, Layer, held

STRUM_BEATS = 0.02  # between neighbouring strings


def play_layer(rng: random.Random, layer: Layer, bars: list[Bar], beats: int) -> list[Note]:
    """All notes of one accompanying player (times in beats)."""
    pattern = rng.choice(layer.patterns)
    chorus = rng.choice(layer.patterns)
    notes: list[Note] = []
    previous = None
    for n, bar in enumerate(bars):
        share = beats / len(bar.chords)
        for k, chord in enumerate(bar.chords):
            pitches = (
                power(chord, layer.centre)
                if layer.kind == "power"
                else voice(chord, previous, layer.centre)
            )
            previous = pitches
            if bar.section not in layer.sections:
                continue
            begin = k * share
            hits = (
                held(beats)
                if bar.section == "outro"
                else chorus
                if bar.section == "chorus"
                else pattern
            )
            inside = [
                (max(b, begin), min(d, begin + share - max(b, begin)), s)
                for b, d, s in hits
                if begin <= b < begin + share or (layer.kind == "pad" and b < begin + share)
            ]
            kind = "strum" if bar.section == "outro" and layer.kind == "arpeggio" else layer.kind
            notes += play_chord(kind, pitches, inside, n * beats)
    return notes


def power(chord: Chord, centre: int) -> tuple[int, ...]:
    """Root, fifth and octave, as an overdriven guitar plays them."""
    root = nearest(chord.root, centre)
    return (root, root + (chord.pcs[2] - chord.pcs[0]) % 12, root + 12)


def play_chord(kind: str, pitches: tuple[int, ...], hits: list[Hit], start: float) -> list[Note]:
    """One chord in its manner; `hits` are beats of the bar that begins at `start`."""
    notes = []
    if kind == "arpeggio":
        cycle = (*pitches, *reversed(pitches[1:-1])) if len(pitches) > 2 else pitches
        if len(cycle) > 6:
            cycle = cycle[:6]
        for k, (beat, length, strength) in enumerate(hits):
            notes.append(Note(start + beat, length, cycle[k % len(cycle)], round(95 * strength)))
        return notes
    spread = STRUM_BEATS if kind == "strum" else 0.0
    for k, (beat, length, strength) in enumerate(hits):
        order = pitches if k % 2 == 0 else tuple(reversed(pitches))
        for string, pitch in enumerate(order):
            late = spread * string
            notes.append(
                Note(start + beat + late, max(length - late, 0.1), pitch, round(92 * strength))
            )
    return notes
