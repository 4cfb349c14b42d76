"""A small test to listen to: systems whose clips are told apart by rate, level, kind and length."""

import json
from pathlib import Path

import numpy as np
import soundfile

from musicgen_train.evaluation.listening_test.ratings import Rating

TEXTS = {"one": "a <b>calm</b> & slow piece", "two": "a fast piece", "deep/three": "a loud piece"}
SYSTEMS = {"secret_small": (16000, 0.02, "wav"), "secret_large": (32000, 0.5, "flac")}


def write_tone(path: Path, rate: int, level: float, duration: float, channels: int = 1) -> Path:
    """A tone with some noise, the same for the same arguments."""
    path.parent.mkdir(parents=True, exist_ok=True)
    n = round(rate * duration)
    noise = np.random.default_rng(0).standard_normal((n, channels))
    tone = np.sin(2 * np.pi * 440 * np.arange(n) / rate)[:, None]
    soundfile.write(path, level * (0.8 * tone + 0.03 * noise), rate)
    return path


def write_systems(root: Path, duration: float = 1.0) -> list[Path]:
    """A folder per system, a file of texts and a folder of melodies below root."""
    for system, (rate, level, kind) in SYSTEMS.items():
        for name in TEXTS:
            write_tone(root / system / f"{name}.{kind}", rate, level, duration)
    for name in TEXTS:
        write_tone(root / "melodies" / f"{name}.ogg", 16000, 0.3, duration)
    (root / "texts.json").write_text(json.dumps(TEXTS))
    return [root / system for system in SYSTEMS]


def rating(listener="ada", name="one", system="a", question="overall", points=50, repeat=0):
    """One answer in which nothing else matters."""
    return Rating(
        listener, 1, repeat, name, system, question, points, 1, 12.0, 5.0,
        "2026-01-01T00:00:00+00:00", -23.0, "0" * 16, 0,
    )  # fmt: skip
