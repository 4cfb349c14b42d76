"""House: four on the floor, offbeat bass, chord stabs."""

from data_prep.demo.style import DrumKit, Layer, Style, every, held

STYLE = Style(
    name="electronic",
    words=("electronic", "house", "electronic dance"),
    bpm=(116, 132),
    beats=4,
    modes={"major": 0.3, "minor": 0.7},
    verse={
        "major": ((1, 5, 6, 4), (6, 4, 1, 5)),
        "minor": ((1, 6, 3, 7), (1, 6, 7, -5), (1, 3, 7, 4)),
    },
    chorus={"major": ((4, 5, 6, 1), (6, 4, 1, 5)), "minor": ((6, 7, 1, 3), (1, 6, 3, 7))},
    chord_size=3,
    leads=("synth lead", "piano", "organ", "marimba", "flute", "saxophone", "electric guitar"),
    layers=(
        (
            Layer(
                ("synth strings", "synth pluck"),
                "block",
                (
                    (
                        (0, 0.4, 0.9),
                        (0.75, 0.4, 0.8),
                        (1.5, 0.4, 0.9),
                        (2.25, 0.4, 0.8),
                        (3.0, 0.7, 0.9),
                    ),
                    ((0.5, 0.35, 0.9), (1.5, 0.35, 0.9), (2.5, 0.35, 0.9), (3.5, 0.35, 0.9)),
                ),
                62,
            ),
            Layer(("synth pluck",), "arpeggio", (every(0.25, 0.22, 4, 4),), 67),
        ),
        (
            Layer(
                ("warm pad", "sweep pad"),
                "pad",
                (held(4),),
                62,
                -28.0,
                ("intro", "chorus", "outro"),
            ),
        ),
    ),
    bass_programs=("synth bass", "deep synth bass"),
    bass=(
        ((0.5, 0.4, "R"), (1.5, 0.4, "R"), (2.5, 0.4, "R"), (3.5, 0.4, "8")),
        (
            (0, 0.4, "R"),
            (0.75, 0.2, "R"),
            (1.5, 0.4, "8"),
            (2.0, 0.4, "R"),
            (2.75, 0.2, "R"),
            (3.5, 0.4, "5"),
        ),
    ),
    drums=(
        DrumKit(
            verse={
                "kick": "x...x...x...x...",
                "clap": "....x.......x...",
                "open": "..x...x...x...x.",
            },
            chorus={
                "kick": "x...x...x...x...",
                "clap": "....x.......x...",
                "open": "..x...x...x...x.",
                "hat": "o-.oo-.oo-.oo-.o",
            },
            intro={"kick": "x...x...x...x...", "hat": "..o...o...o...o."},
        ),
    ),
    cells=(
        (2, (0.5, 0.5)),
        (2, (0.75, 0.75, 0.5)),
        (1, (0.25, 0.25, 0.5)),
        (1, (1.0,)),
        (1, (-0.5, 0.5)),
        (0.6, (-1.0,)),
    ),
    chorus_cells=((3, (0.75, 0.75, 0.5)), (2, (0.5, 0.5)), (1, (1.5, 0.5)), (1, (1.0, 1.0))),
    moods=("uplifting", "hypnotic", "euphoric", "danceable", "bright"),
    looseness=0.0015,
    pentatonic=0.5,
    reverb=0.2,
    drum_level=-17.0,
    bass_level=-21.0,
    fills=("roll", "drop"),
)
