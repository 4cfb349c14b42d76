"""An orchestral waltz."""

from data_prep.demo.style import DrumKit, Layer, Style, every, held

STYLE = Style(
    name="classical",
    words=("classical", "orchestral", "classical waltz"),
    bpm=(96, 156),
    beats=3,
    modes={"major": 0.55, "minor": 0.45},
    verse={
        "major": ((1, 1, 5, 1), (1, 6, 2, 5), (1, 4, 5, 1)),
        "minor": ((1, 1, 5, 1), (1, 4, 5, 1)),
    },
    chorus={
        "major": ((4, 1, 5, 1), (2, 5, 1, 5), (6, 2, 5, 1)),
        "minor": ((4, 1, 5, 1), (6, 3, 4, 5)),
    },
    chord_size=3,
    dominant_seventh=True,
    leads=("violin", "flute", "piano", "harpsichord", "trumpet", "clarinet"),
    layers=(
        (
            Layer(("strings", "piano"), "block", (((1, 0.6, 0.8), (2, 0.6, 0.7)),), 62),
            Layer(("harp", "piano"), "arpeggio", (every(0.5, 0.6, 3, 2),), 62),
        ),
        (Layer(("slow strings",), "pad", (held(3),), 60, -28.0, ("chorus", "outro")),),
    ),
    bass_programs=("cello", "contrabass"),
    bass=(((0, 0.9, "R"),), ((0, 0.9, "R"), (2, 0.8, "5"))),
    drums=(
        DrumKit(
            verse={"triangle": "x..........."},
            chorus={"timpani": "x...........", "snare": "....-...-...", "cymbal": "-..........."},
            intro={},
        ),
    ),
    cells=(
        (3, (1.0,)),
        (2, (0.5, 0.5)),
        (2, (2.0, 1.0)),
        (1, (1.5, 0.5)),
        (0.5, (0.5, 0.25, 0.25)),
    ),
    chorus_cells=(
        (2, (2.0, 1.0)),
        (2, (1.0,)),
        (2, (1.5, 0.5, 1.0)),
        (1, (0.5, 0.5)),
        (0.7, (3.0,)),
    ),
    moods=("elegant", "graceful", "romantic", "stately", "nostalgic"),
    looseness=0.01,
    reverb=0.35,
    reverb_time=1.8,
    drum_level=-28.0,
    fills=("none",),
)
