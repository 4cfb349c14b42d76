"""Folk: picked and strummed guitars, simple chords."""

from data_prep.demo.style import DrumKit, Layer, Style, every, held

STYLE = Style(
    name="folk",
    words=("folk", "acoustic folk", "folk ballad"),
    bpm=(84, 124),
    beats=4,
    modes={"major": 0.55, "minor": 0.29, "mixolydian": 0.08, "dorian": 0.08},
    verse={
        "major": ((1, 4, 1, 5), (1, 5, 4, 1), (1, 6, 4, 5)),
        "minor": ((1, 7, 1, -5), (1, 3, 7, 1)),
    },
    chorus={
        "major": ((4, 1, 5, 1), (4, 5, 1, 6), (6, 4, 1, 5)),
        "minor": ((6, 7, 1, 1), (3, 7, 1, -5)),
    },
    chord_size=3,
    dominant_seventh=True,
    leads=("violin", "clarinet", "flute", "acoustic guitar", "piano", "harpsichord"),
    layers=(
        (
            Layer(("steel guitar", "nylon guitar"), "arpeggio", (every(0.5, 0.9, 4, 4),), 58),
            Layer(
                ("steel guitar",),
                "strum",
                (((0, 0.9, 0.85), (1, 0.4, 0.8), (1.5, 0.4, 0.6), (2.5, 0.4, 0.6), (3, 0.9, 0.8)),),
                57,
            ),
        ),
        (Layer(("slow strings", "organ"), "pad", (held(4),), 62, -30.0, ("chorus", "outro")),),
    ),
    bass_programs=("upright bass",),
    bass=(((0, 1.8, "R"), (2, 1.8, "5")), ((0, 1.8, "R"), (2, 0.9, "5"), (3, 0.9, "a"))),
    drums=(
        DrumKit(
            verse={"tambourine": "....o.......o...", "kick": "o.......o......."},
            chorus={"tambourine": "..-.o.-...-.o.-.", "kick": "o.......o.-....."},
            intro={},
        ),
    ),
    cells=((3, (1.0,)), (3, (0.5, 0.5)), (1, (1.5, 0.5)), (1, (2.0,)), (0.5, (0.5, 0.25, 0.25))),
    chorus_cells=((2, (1.5, 0.5)), (2, (1.0,)), (1.5, (2.0,)), (2, (0.5, 0.5))),
    moods=("warm", "pastoral", "wistful", "heartfelt", "gentle"),
    looseness=0.01,
    pentatonic=0.4,
    reverb=0.22,
    drum_level=-25.0,
    fills=("none",),
)
