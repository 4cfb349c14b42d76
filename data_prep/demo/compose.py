"""From the facts of a track to its notes: form, harmony, parts, human timing."""

import random

from data_prep.demo.accompaniment import play_layer
from data_prep.demo.bass import play_bass
from data_prep.demo.drums import play_drums
from data_prep.demo.harmony import Chord, Key, diatonic_chord
from data_prep.demo.instruments import LEADS, PROGRAMS, Lead
from data_prep.demo.melody import compose_melody
from data_prep.demo.piece import Bar, Note, Part, Piece
from data_prep.demo.plan import Plan
from data_prep.demo.style import Layer, Style

TAIL = 1.8  # seconds after the last bar, for release and reverb
LEAD_LEVEL = -18.5
VOICE_CENTRES = (52, 55, 60, 64)  # bass-baritone .. mezzo


def compose(plan: Plan, track_duration: tuple[float, float]) -> Piece:
    """Compose the piece of a plan; its duration lies in `track_duration` where whole bars allow."""
    style = plan.style
    bar_seconds = style.beats * 60 / plan.bpm
    n_bars = count_bars(plan.rng("form"), bar_seconds, track_duration)
    bars = write_form(plan.rng("harmony"), plan.key, style, n_bars)
    parts = [
        lead_part(plan, bars),
        *layer_parts(plan, bars),
        bass_part(plan, bars),
        drum_part(plan, bars),
    ]
    vocal = vocal_line(plan, bars) if plan.sung else None
    parts = [perform(plan, part, n) for n, part in enumerate(parts) if part.notes]
    if vocal is not None:
        vocal = perform(plan, Part("vocals", 0, vocal), 99).notes
    return Piece(plan.key, plan.bpm, n_bars * bar_seconds + TAIL, bars, parts, vocal)


def count_bars(rng: random.Random, bar_seconds: float, track_duration: tuple[float, float]) -> int:
    """A number of bars whose length with the tail lies in the range, if there is one."""
    shortest, longest = track_duration
    most = max(int((longest - TAIL) / bar_seconds), 3)
    fitting = [n for n in range(3, most + 1) if n * bar_seconds + TAIL >= shortest]
    return rng.choice(fitting or [most])


def phrase_lengths(n_bars: int) -> list[int]:
    """Split the body into phrases of four bars (two where it is short)."""
    size = 4 if n_bars >= 8 else 2
    lengths = [size] * (n_bars // size)
    if n_bars % size:
        lengths.append(n_bars % size)
    if len(lengths) > 1 and lengths[-1] == 1:
        lengths[-2:] = [lengths[-2] + 1]
    return lengths


FORMS = {1: "V", 2: "VC", 3: "VCV", 4: "VVCC", 5: "VVCVC", 6: "VVCVCC", 7: "VVCCVCC"}


def write_form(rng: random.Random, key: Key, style: Style, n_bars: int) -> list[Bar]:
    """Bars with their section and chords: intro, phrases, a last bar on the tonic."""
    intro = 0 if n_bars < 5 else 1 if n_bars < 9 else 2
    progressions = {
        "verse": rng.choice(style.verse[key.family]),
        "chorus": rng.choice(style.chorus[key.family]),
    }
    lengths = phrase_lengths(n_bars - intro - 1)
    letters = FORMS.get(len(lengths), ("VVCC" * len(lengths))[: len(lengths)])
    plan = [("intro", intro)] * (intro > 0)
    plan += [("verse" if c == "V" else "chorus", n) for c, n in zip(letters, lengths, strict=True)]
    bars = []
    for phrase, (section, length) in enumerate(plan):
        progression = progressions.get(section, progressions["verse"])
        for position in range(length):
            degree = progression[position % len(progression)]
            last_of_all = phrase == len(plan) - 1 and position == length - 1
            chords = (dominant(key, style),) if last_of_all else (style_chord(key, degree, style),)
            bars.append(Bar(section, phrase, position, length, chords))
    bars.append(Bar("outro", len(plan), 0, 1, (style_chord(key, 1, style),)))
    return bars


def style_chord(key: Key, degree: int, style: Style) -> Chord:
    """The chord on a degree as the style plays it."""
    seventh = style.dominant_seventh and degree == 5 and key.mode in ("major", "minor")
    return diatonic_chord(key, degree, 4 if seventh else style.chord_size)


def dominant(key: Key, style: Style) -> Chord:
    """The chord before the last: a dominant, or the mode's own seventh degree."""
    if key.mode in ("dorian", "mixolydian"):
        return diatonic_chord(key, 7 if style.chord_size == 3 else 4, style.chord_size)
    return style_chord(key, 5, style)


def melody_line(plan: Plan, bars: list[Bar]) -> list[Note]:
    """The tune (times in beats), in the range of the lead instrument."""
    rng, style = plan.rng("melody"), plan.style
    cells = {"verse": style.cells, "chorus": style.chorus_cells}
    pentatonic = rng.random() < style.pentatonic
    return compose_melody(
        rng, plan.key, bars, style.beats, cells, LEADS[plan.lead].centre, pentatonic
    )


def lead_part(plan: Plan, bars: list[Bar]) -> Part:
    """The melody on the lead instrument."""
    rng, style, lead = plan.rng("lead"), plan.style, LEADS[plan.lead]
    notes = melody_line(plan, bars)
    if lead.polyphonic:
        notes = notes + harmonise(rng, plan, notes, bars)
    return Part(
        "melody", lead.program, notes, rng.uniform(-0.15, 0.15), LEAD_LEVEL, style.reverb + 0.08
    )


def harmonise(rng: random.Random, plan: Plan, notes: list[Note], bars: list[Bar]) -> list[Note]:
    """Chord tones below long notes of the chorus, as a keyboard or guitar player adds."""
    below = []
    for note in notes:
        bar = bars[min(int(note.start // plan.style.beats), len(bars) - 1)]
        if bar.section == "verse" or note.duration < 0.9 or rng.random() < 0.3:
            continue
        chord = bar.chords[0]
        under = [note.pitch - k for k in range(3, 10) if (note.pitch - k) % 12 in chord.pcs]
        if under:
            below.append(Note(note.start, note.duration, under[0], note.velocity - 16))
    return below


def layer_parts(plan: Plan, bars: list[Bar]) -> list[Part]:
    """The accompanying players; none shares the lead's instrument."""
    rng = plan.rng("accompaniment")
    side = rng.choice((-1, 1))
    parts = []
    for n, choices in enumerate(plan.style.layers):
        layer: Layer = rng.choice(choices)
        name = rng.choice(
            [p for p in layer.programs if not same_sound(p, plan.lead)] or ["slow strings"]
        )
        notes = play_layer(rng, layer, bars, plan.style.beats)
        pan = side * (0.45 if n == 0 else -0.5)
        reverb = plan.style.reverb + (0.1 if layer.kind == "pad" else 0.0)
        parts.append(Part("accompaniment", PROGRAMS[name], notes, pan, layer.level, reverb))
    return parts


def same_sound(program: str, lead: str) -> bool:
    """Whether an accompanying sound would be taken for the lead instrument."""
    kin = {
        "acoustic guitar": ("steel guitar", "nylon guitar"),
        "electric guitar": ("overdriven guitar",),
    }
    kin |= {"organ": ("rock organ",), "synth lead": ("synth pluck",), "piano": ("electric piano",)}
    kin |= {"trumpet": ("brass",), "marimba": ("vibraphone",)}
    return PROGRAMS[program] == LEADS[lead].program or program in kin.get(lead, ())


def bass_part(plan: Plan, bars: list[Bar]) -> Part:
    """The bass."""
    rng, style = plan.rng("bass"), plan.style
    program = PROGRAMS[rng.choice(style.bass_programs)]
    notes = play_bass(rng, plan.key, bars, style.beats, style.bass)
    return Part("bass", program, notes, 0.0, style.bass_level, 0.03)


def drum_part(plan: Plan, bars: list[Bar]) -> Part:
    """The drums."""
    rng, style = plan.rng("drums"), plan.style
    notes = play_drums(rng, style.drums, style.fills, bars, style.beats)
    return Part(
        "drums", style.drum_program, notes, 0.0, style.drum_level, style.reverb * 0.5, is_drum=True
    )


def vocal_line(plan: Plan, bars: list[Bar]) -> list[Note]:
    """What is sung (times in beats): the melody an octave or so off, or a calmer line."""
    rng, style = plan.rng("vocal"), plan.style
    centre = rng.choice(VOICE_CENTRES)
    if rng.random() < 0.5:
        tune = melody_line(plan, bars)
        middle = sum(note.pitch for note in tune) / len(tune)
        shift = 12 * round((centre - middle) / 12)
        return [note._replace(pitch=note.pitch + shift) for note in tune]
    slow = ((3, (1.0,)), (2, (1.5, 0.5)), (2, (0.5, 0.5)), (1.5, (2.0,)), (0.7, (-1.0,)))
    cells = {"verse": slow, "chorus": slow}
    return compose_melody(rng, plan.key, bars, style.beats, cells, centre, rng.random() < 0.5)


def swing(beat: float, ratio: float, unit: float) -> float:
    """Delay the second half of each `unit`: ratio 0.5 is straight."""
    whole, rest = divmod(beat / unit, 1.0)
    warped = rest * 2 * ratio if rest < 0.5 else ratio + (rest - 0.5) * 2 * (1 - ratio)
    return (whole + warped) * unit


def perform(plan: Plan, part: Part, number: int) -> Part:
    """Beats to seconds, with swing, a player's looseness and varied velocity; pitches in 24..96."""
    rng, style = plan.rng(f"performance/{number}"), plan.style
    seconds_per_beat = 60 / plan.bpm
    gate = 0.97 if part.is_drum or is_sustained(part) else 0.93
    played = []
    for note in sorted(part.notes):
        start = swing(note.start, style.swing, style.swing_unit) * seconds_per_beat
        end = (
            swing(note.start + note.duration * gate, style.swing, style.swing_unit)
            * seconds_per_beat
        )
        start = max(0.0, start + rng.gauss(0.0, style.looseness) + 0.02)
        end += 0.02
        velocity = min(max(round(note.velocity + rng.gauss(0.0, 5.0)), 20), 126)
        pitch = note.pitch
        while pitch > 96:
            pitch -= 12
        while pitch < 24:
            pitch += 12
        played.append(Note(start, max(end - start, 0.06), pitch, velocity))
    return Part(part.stem, part.program, played, part.pan, part.level, part.reverb, part.is_drum)


def is_sustained(part: Part) -> bool:
    """Whether a program holds its tone: organs, strings, winds, pads."""
    by_lead: dict[int, Lead] = {lead.program: lead for lead in LEADS.values()}
    return by_lead[part.program].sustained if part.program in by_lead else 40 <= part.program < 104
