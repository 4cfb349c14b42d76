"""Requests that fill the form, for visitors who want to begin with something that works."""

from pathlib import Path
from typing import TYPE_CHECKING

import gradio as gr

from musicgen_train.app.generate_form import Form

if TYPE_CHECKING:
    import numpy as np

_RATE = 16_000
# Texts as tiny was trained on, which are plain enough for any model.
TEXTS = (
    ("calm piano, ambient, slow", 8.0),
    ("fast jazz with a saxophone", 8.0),
    ("energetic rock, electric guitar, 140 bpm", 8.0),
    ("house music with a synth lead, 120 bpm", 12.0),
)
MELODY_TEXT = "folk tune on a flute"
# "Frère Jacques", which belongs to nobody: MIDI notes with their beats.
_TUNE = [
    (72, 1), (74, 1), (76, 1), (72, 1), (72, 1), (74, 1), (76, 1), (72, 1),
    (76, 1), (77, 1), (79, 2), (76, 1), (77, 1), (79, 2),
]  # fmt: skip
_BEAT = 0.5  # seconds


def build_examples(form: Form, folder: Path, melody: bool) -> None:
    """A table under the form; a row of it is what the form then holds.

    folder: where the melody is written. melody: whether the page's first model takes one.
    """
    rows = [[text, None, duration] for text, duration in TEXTS]
    if melody:
        tune = write_tune(folder / "frere_jacques.wav")
        rows.append([MELODY_TEXT, str(tune), 8.0])
    gr.Examples(
        rows, [form.text, form.melody, form.duration], label="Examples: choose one, then generate",
        api_visibility="private", elem_id="examples", cache_examples=False,
        visible_columns=[0], example_labels=[_label(*row) for row in rows],
    )  # fmt: skip


def write_tune(path: Path) -> Path:
    """A melody as a WAV file, played by plain tones."""
    import numpy as np
    import soundfile

    wav = np.concatenate([_note(note, beats * _BEAT) for note, beats in _TUNE])
    path.parent.mkdir(exist_ok=True)
    soundfile.write(path, wav.astype("float32"), _RATE, subtype="PCM_16")
    return path


def _note(note: int, seconds: float) -> "np.ndarray":
    import numpy as np

    time = np.arange(round(seconds * _RATE)) / _RATE
    frequency = 440 * 2 ** ((note - 69) / 12)
    tone = sum(np.sin(2 * np.pi * k * frequency * time) / k**2 for k in (1, 2, 3))
    rise = np.minimum(1, time / 0.02) * np.minimum(1, (seconds - time) / 0.05)
    return 0.4 * tone * rise * np.exp(-time)


def _label(text: str, melody: str | None, duration: float) -> str:
    return f"{text} ({'with a melody, ' if melody else ''}{duration:g} s)"
