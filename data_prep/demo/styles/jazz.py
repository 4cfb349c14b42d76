"""Swing jazz: sevenths, walking bass, ride cymbal, swung eighths."""

from data_prep.demo.style import DrumKit, Layer, Style, every

STYLE = Style(
    name="jazz",
    words=("jazz", "swing jazz", "swing"),
    bpm=(104, 168),
    beats=4,
    modes={"major": 0.6, "minor": 0.35, "dorian": 0.05},
    verse={
        "major": ((1, 6, 2, 5), (2, 5, 1, 6), (1, 4, 3, 6)),
        "minor": ((1, 4, 2, 5), (1, 6, 2, 5)),
    },
    chorus={
        "major": ((2, 5, 1, 1), (4, 5, 3, 6), (2, 5, 3, 6)),
        "minor": ((4, 7, 3, 6), (2, 5, 1, 1)),
    },
    chord_size=4,
    leads=("saxophone", "trumpet", "piano", "flute", "violin", "marimba", "organ"),
    layers=(
        (
            Layer(
                ("piano", "jazz guitar", "electric piano"),
                "block",
                (
                    ((0, 1.3, 0.8), (1.5, 0.4, 0.7)),
                    ((1.5, 0.4, 0.8), (3.5, 0.8, 0.75)),
                    ((0.5, 0.4, 0.7), (2.0, 0.9, 0.8)),
                ),
                60,
            ),
        ),
        (
            Layer(
                ("jazz guitar", "vibraphone"),
                "block",
                (every(1.0, 0.5, 4, 2),),
                57,
                -30.0,
                ("chorus",),
            ),
        ),
    ),
    bass_programs=("upright bass",),
    bass=None,
    drums=(
        DrumKit(
            verse={
                "kick": "-...-...-...-...",
                "pedal": "....x.......x...",
                "ride": "x...x.o.x...x.o.",
            },
            chorus={
                "kick": "o...-...-.-.-...",
                "pedal": "....x.......x...",
                "ride": "x...x.o.x...x.o.",
                "snare": "......-.......-.",
            },
            intro={"pedal": "....x.......x...", "ride": "x...x.o.x...x.o."},
        ),
    ),
    cells=(
        (4, (0.5, 0.5)),
        (2, (1.0,)),
        (1.5, (-0.5, 0.5)),
        (1, (0.5, 1.0, 0.5)),
        (1, (1 / 3, 1 / 3, 1 / 3)),
        (0.7, (-1.0,)),
        (0.7, (1.5, 0.5)),
    ),
    chorus_cells=((3, (0.5, 0.5)), (2, (1.5, 0.5)), (1, (1.0,)), (1, (2.0,)), (1, (0.5, 1.0, 0.5))),
    moods=("smoky", "playful", "sophisticated", "cool", "swinging"),
    swing=0.64,
    looseness=0.009,
    reverb=0.2,
    drum_level=-22.0,
    bass_level=-21.5,
    fills=("snare", "ride"),
)
