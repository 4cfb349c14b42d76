"""Ambient: slow pads, long notes, much room."""

from data_prep.demo.style import DrumKit, Layer, Style, every, held

STYLE = Style(
    name="ambient",
    words=("ambient", "atmospheric", "ambient soundscape"),
    bpm=(60, 84),
    beats=4,
    modes={"major": 0.5, "minor": 0.42, "dorian": 0.08},
    verse={
        "major": ((1, 4, 1, 4), (1, 3, 4, 4), (6, 4, 1, 1)),
        "minor": ((1, 6, 1, 6), (1, 3, 7, 4)),
    },
    chorus={"major": ((4, 6, 1, 3), (4, 1, 2, 4)), "minor": ((6, 3, 4, 1), (6, 7, 1, 1))},
    chord_size=4,
    leads=("piano", "flute", "synth lead", "violin", "marimba", "acoustic guitar"),
    layers=(
        (
            Layer(
                ("warm pad", "new age pad", "sweep pad", "slow strings"),
                "pad",
                (held(4),),
                60,
                -22.5,
            ),
        ),
        (
            Layer(
                ("harp", "electric piano", "vibraphone"),
                "arpeggio",
                (every(0.5, 1.5, 4, 4),),
                69,
                -29.0,
            ),
        ),
    ),
    bass_programs=("deep synth bass", "upright bass", "cello"),
    bass=(((0, 3.8, "R"),), ((0, 2.8, "R"), (3, 0.9, "5"))),
    drums=(
        DrumKit(
            verse={"shaker": "-...o...-...o..."},
            chorus={"shaker": "-.-.o.-.-.-.o.-.", "kick": "o.......-......."},
            intro={},
        ),
    ),
    cells=(
        (2, (2.0,)),
        (2, (1.0, 1.0)),
        (1, (1.5, 0.5)),
        (1, (3.0, 1.0)),
        (1, (-1.0, 1.0)),
        (0.7, (4.0,)),
    ),
    chorus_cells=((2, (1.5, 0.5)), (2, (1.0,)), (1, (2.0,)), (0.6, (0.5, 0.5))),
    moods=("calm", "dreamy", "peaceful", "spacious", "meditative"),
    looseness=0.012,
    pentatonic=0.7,
    reverb=0.55,
    reverb_time=2.6,
    drum_level=-29.0,
    bass_level=-21.5,
    fills=("none",),
)
