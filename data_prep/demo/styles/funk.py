"""Funk: sixteenths, slap bass, chopped chords."""

from data_prep.demo.style import DrumKit, Layer, Style, held

STYLE = Style(
    name="funk",
    words=("funk", "funk groove", "seventies funk"),
    bpm=(92, 116),
    beats=4,
    modes={"minor": 0.4, "major": 0.3, "dorian": 0.2, "mixolydian": 0.1},
    verse={
        "major": ((1, 1, 4, 1), (1, 4, 1, 5), (1, 2, 4, 5)),
        "minor": ((1, 4, 1, 4), (1, 1, 4, -5)),
    },
    chorus={"major": ((4, 3, 2, 5), (2, 5, 1, 4)), "minor": ((6, 7, 1, 1), (4, -5, 1, 7))},
    chord_size=4,
    leads=("saxophone", "trumpet", "organ", "electric guitar", "synth lead", "flute"),
    layers=(
        (
            Layer(
                ("clavinet", "muted guitar", "clean guitar"),
                "block",
                (
                    (
                        (0, 0.2, 0.9),
                        (0.75, 0.2, 0.7),
                        (1.5, 0.2, 0.85),
                        (2.25, 0.2, 0.7),
                        (3.0, 0.2, 0.8),
                    ),
                    (
                        (0.5, 0.2, 0.8),
                        (1.0, 0.2, 0.9),
                        (1.75, 0.2, 0.7),
                        (2.5, 0.2, 0.8),
                        (3.25, 0.2, 0.8),
                    ),
                ),
                64,
            ),
        ),
        (
            Layer(
                ("brass",),
                "block",
                (((0, 0.3, 0.9), (1.75, 0.3, 0.8), (3.5, 0.4, 0.9)),),
                64,
                -27.0,
                ("chorus",),
            ),
            Layer(("electric piano",), "pad", (held(4),), 62, -28.0),
        ),
    ),
    bass_programs=("slap bass", "finger bass"),
    bass=(
        (
            (0, 0.4, "R"),
            (0.75, 0.2, "8"),
            (1.5, 0.2, "R"),
            (2.0, 0.2, "R"),
            (2.75, 0.2, "5"),
            (3.25, 0.2, "8"),
            (3.75, 0.2, "a"),
        ),
        ((0, 0.7, "R"), (1.75, 0.2, "R"), (2.25, 0.2, "5"), (2.5, 0.4, "8"), (3.5, 0.4, "a")),
    ),
    drums=(
        DrumKit(
            verse={
                "kick": "x..o..x...x..o..",
                "snare": "....x..-.-..x..-",
                "hat": "xoxoxoxoxoxoxoxo",
            },
            chorus={
                "kick": "x..o..x...x..o..",
                "snare": "....x..-.-..x..-",
                "hat": "xoxoxo.oxoxoxo.o",
                "open": "......x.......x.",
            },
            intro={"hat": "x.o.x.o.x.o.x.o.", "kick": "x.......x......."},
        ),
    ),
    cells=(
        (2, (0.5, 0.5)),
        (2, (0.25, 0.25, 0.5)),
        (2, (-0.25, 0.25, 0.5)),
        (1, (0.75, 0.25)),
        (1, (1.0,)),
        (1, (-1.0,)),
        (1, (0.75, 0.75, 0.5)),
    ),
    chorus_cells=(
        (2, (0.75, 0.75, 0.5)),
        (2, (0.5, 0.5)),
        (1, (1.5, 0.5)),
        (1, (1.0,)),
        (1, (-0.5, 0.5)),
    ),
    moods=("groovy", "gritty", "playful", "confident", "upbeat"),
    swing=0.54,
    swing_unit=0.5,
    looseness=0.005,
    pentatonic=0.6,
    reverb=0.1,
    reverb_time=0.8,
    drum_level=-18.0,
    bass_level=-20.5,
)
