"""Bossa nova: nylon guitar, side stick, sevenths."""

from data_prep.demo.style import DrumKit, Layer, Style

STYLE = Style(
    name="latin",
    words=("latin", "bossa nova", "latin bossa"),
    bpm=(112, 148),
    beats=4,
    modes={"major": 0.5, "minor": 0.45, "dorian": 0.05},
    verse={
        "major": ((1, 6, 2, 5), (1, 1, 2, 5), (1, 4, 3, 6)),
        "minor": ((1, 4, 5, 1), (1, 7, 6, 5)),
    },
    chorus={"major": ((4, 5, 3, 6), (2, 5, 1, 1)), "minor": ((4, 7, 3, 6), (4, 1, 5, 1))},
    chord_size=4,
    leads=("acoustic guitar", "flute", "trumpet", "saxophone", "clarinet", "marimba", "piano"),
    layers=(
        (
            Layer(
                ("nylon guitar",),
                "strum",
                (
                    ((0, 0.4, 0.8), (1, 0.9, 0.7), (2.5, 0.4, 0.8), (3.5, 0.4, 0.75)),
                    ((0, 0.9, 0.8), (1.5, 0.9, 0.75), (3.0, 0.8, 0.8)),
                ),
                60,
            ),
        ),
        (
            Layer(
                ("electric piano", "piano"),
                "block",
                (((0, 0.9, 0.7), (1.5, 0.4, 0.7), (2.5, 1.2, 0.75)),),
                64,
                -29.0,
                ("chorus",),
            ),
        ),
    ),
    bass_programs=("upright bass", "finger bass"),
    bass=(
        ((0, 1.4, "R"), (1.5, 0.45, "5"), (2, 1.4, "5"), (3.5, 0.45, "a")),
        ((0, 1.4, "R"), (1.5, 0.45, "R"), (2, 1.4, "5"), (3.5, 0.45, "5")),
    ),
    drums=(
        DrumKit(
            verse={
                "kick": "o..-o..-o..-o..-",
                "stick": "x.....x...x.....",
                "shaker": "o-o-o-o-o-o-o-o-",
            },
            chorus={
                "kick": "o..-o..-o..-o..-",
                "stick": "x.....x...x.....",
                "shaker": "o-o-o-o-o-o-o-o-",
                "conga": "..o..-xx..o..-xx",
            },
            intro={"shaker": "o-o-o-o-o-o-o-o-"},
        ),
    ),
    cells=(
        (3, (0.5, 0.5)),
        (2, (1.5, 0.5)),
        (2, (-0.5, 1.0, 0.5)),
        (1, (0.5, 1.0, 0.5)),
        (1, (1.0,)),
        (0.5, (-1.0,)),
    ),
    chorus_cells=((2, (1.5, 0.5)), (2, (0.5, 1.0, 0.5)), (1, (2.0,)), (2, (0.5, 0.5)), (1, (1.0,))),
    moods=("sunny", "breezy", "romantic", "warm", "sensual"),
    looseness=0.008,
    reverb=0.2,
    drum_level=-22.5,
    fills=("conga", "snare"),
)
