"""Chiptune: square waves, chords broken into fast arpeggios, drum-machine blips at double time."""

from data_prep.demo.style import DrumKit, Layer, Style, every

STYLE = Style(
    name="chiptune",
    words=("chiptune", "8-bit", "8-bit video game"),
    bpm=(138, 172),
    beats=4,
    modes={"major": 0.45, "minor": 0.45, "dorian": 0.1},
    verse={
        "major": ((1, 5, 6, 4), (1, 4, 1, 5), (1, 3, 4, 5)),
        "minor": ((1, 6, 7, 1), (1, 7, 6, -5), (1, 1, 6, 7)),
    },
    chorus={
        "major": ((4, 5, 1, 6), (4, 5, 6, 5), (6, 4, 1, 5)),
        "minor": ((6, 7, 1, 1), (6, 7, 3, -5)),
    },
    chord_size=3,
    leads=("square lead", "pulse lead", "calliope"),
    layers=(
        (
            Layer(("square wave", "pulse wave"), "arpeggio", (every(0.125, 0.12, 4, 4),), 67),
            Layer(
                ("square wave", "pulse wave"),
                "arpeggio",
                (every(0.125, 0.12, 4, 4), every(0.25, 0.12, 4, 2)),
                72,
            ),
        ),
        (
            Layer(
                ("pulse wave", "square wave"),
                "block",
                (
                    ((0.5, 0.2, 0.8), (1.5, 0.2, 0.8), (2.5, 0.2, 0.8), (3.5, 0.2, 0.8)),
                    ((0.75, 0.2, 0.8), (1.5, 0.2, 0.8), (2.75, 0.2, 0.8), (3.5, 0.2, 0.8)),
                ),
                60,
                -29.0,
                ("chorus",),
            ),
        ),
    ),
    bass_programs=("square wave",),
    bass=(
        tuple((k / 2, 0.35, "R" if k % 2 == 0 else "8") for k in range(8)),
        (
            (0, 0.35, "R"),
            (0.5, 0.2, "R"),
            (0.75, 0.2, "8"),
            (1.5, 0.35, "5"),
            (2.0, 0.35, "R"),
            (2.5, 0.2, "R"),
            (2.75, 0.2, "8"),
            (3.5, 0.35, "a"),
        ),
    ),
    drums=(
        DrumKit(
            verse={
                "kick": "x...x...x...x...",
                "snare": "..x...x...x...x.",
                "hat": "-.-.-.-.-.-.-.--",
            },
            chorus={
                "kick": "x..xx...x..xx...",
                "snare": "..x...x...x...xo",
                "hat": "o-o-o-o-o-o-o-oo",
            },
            intro={"hat": "o-o-o-o-o-o-o-o-"},
        ),
    ),
    cells=(
        (3, (0.25, 0.25, 0.5)),
        (2, (0.5, 0.5)),
        (2, (0.25, 0.25, 0.25, 0.25)),
        (1, (0.75, 0.25)),
        (1, (-0.5, 0.5)),
    ),
    chorus_cells=(
        (3, (0.75, 0.75, 0.5)),
        (2, (0.25, 0.25, 0.25, 0.25)),
        (2, (0.5, 0.5)),
        (1, (1.0,)),
    ),
    moods=("playful", "heroic", "frantic", "cheerful", "adventurous"),
    looseness=0.0,
    pentatonic=0.3,
    reverb=0.03,
    reverb_time=0.5,
    drum_program=25,
    drum_level=-20.0,
    bass_level=-23.0,
    fills=("snare", "roll"),
)
