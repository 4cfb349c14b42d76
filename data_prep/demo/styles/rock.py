"""Rock: power chords, backbeat, pentatonic leads."""

from data_prep.demo.style import DrumKit, Layer, Style, every, held

STYLE = Style(
    name="rock",
    words=("rock", "guitar rock", "classic rock"),
    bpm=(104, 148),
    beats=4,
    modes={"major": 0.5, "minor": 0.42, "mixolydian": 0.08},
    verse={
        "major": ((1, 4, 1, 5), (1, 5, 6, 4), (1, 4, 5, 4)),
        "minor": ((1, 7, 6, 7), (1, 6, 7, 1), (1, 4, 7, 1)),
    },
    chorus={
        "major": ((1, 5, 6, 4), (1, 4, 6, 5), (6, 4, 1, 5), (1, 6, 4, 5)),
        "minor": ((1, 6, 3, 7), (1, 7, 6, 7), (1, 4, 6, 5), (1, 6, 4, 5)),
    },
    chord_size=3,
    leads=("electric guitar", "organ", "piano", "saxophone", "synth lead", "trumpet"),
    layers=(
        (
            Layer(
                ("distortion guitar", "overdriven guitar"), "power", (every(0.5, 0.42, 4, 4),), 50
            ),
            Layer(
                ("overdriven guitar", "distortion guitar"),
                "power",
                (((0, 1.4, 0.9), (1.5, 0.9, 0.8), (2.5, 0.4, 0.7), (3.0, 0.9, 0.85)),),
                50,
            ),
        ),
        (
            Layer(("rock organ",), "pad", (held(4),), 64, -29.0, ("chorus", "outro")),
            Layer(("clean guitar",), "arpeggio", (every(0.5, 0.6, 4),), 64, -28.0),
        ),
    ),
    bass_programs=("pick bass", "finger bass"),
    bass=(
        tuple((k / 2, 0.45, "R") for k in range(8)),
        ((0, 1.4, "R"), (1.5, 0.45, "R"), (2, 0.9, "R"), (3, 0.45, "5"), (3.5, 0.45, "a")),
    ),
    drums=(
        DrumKit(
            verse={
                "kick": "x.....x.x.....o.",
                "snare": "....x.......x...",
                "hat": "x.o.x.o.x.o.x.o.",
            },
            chorus={
                "kick": "x..o..x.x..o..x.",
                "snare": "....x.......x...",
                "ride": "x.o.x.o.x.o.x.o.",
            },
            intro={"kick": "x.......x.......", "hat": "x...x...x...x..."},
        ),
        DrumKit(
            verse={
                "kick": "x.......x.o.....",
                "snare": "....x.......x..-",
                "hat": "x.o.x.o.x.o.x.o.",
            },
            chorus={
                "kick": "x.o...x.x.o.....",
                "snare": "....x..-....x...",
                "open": "x...x...x...x...",
            },
            intro={"stick": "x...x...x...x..."},
        ),
    ),
    cells=(
        (3, (0.5, 0.5)),
        (2, (1.0,)),
        (2, (-0.5, 0.5, 0.5, 0.5)),
        (1, (0.5, 1.0, 0.5)),
        (1, (1.5, 0.5)),
        (0.7, (-1.0,)),
    ),
    chorus_cells=(
        (2, (1.5, 0.5)),
        (2, (1.0, 1.0)),
        (2, (2.0,)),
        (2, (0.5, 0.5)),
        (1, (0.5, 1.0, 0.5)),
    ),
    moods=("energetic", "driving", "powerful", "rebellious", "confident"),
    pentatonic=0.6,
    reverb=0.12,
    reverb_time=0.9,
    drum_level=-18.0,
)
