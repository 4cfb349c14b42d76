"""Small pieces of music with sidecars and stems, and readers of what becomes of them."""

import io
import json
import math
from pathlib import Path

import numpy as np
import soundfile

SOURCE_RATE = 16000
PITCHES = {"melody": 440.0, "accompaniment": 262.0, "bass": 110.0, "drums": 60.0, "vocals": 330.0}


def write_track(
    folder: Path, artist: str, title: str, seconds: float, stems: tuple[str, ...] = ()
) -> Path:
    """A track of `artist`, the sum of tones named by `stems`, with its sidecar and stem files."""
    home = folder / artist
    home.mkdir(parents=True, exist_ok=True)
    time = np.arange(int(seconds * SOURCE_RATE)) / SOURCE_RATE
    rng = np.random.default_rng([len(artist), *title.encode()])
    names = stems or ("melody", "bass")
    parts = {n: 0.2 * np.sin(2 * np.pi * PITCHES[n] * time) for n in names}
    mix = sum(parts.values()) + 0.001 * rng.normal(size=len(time))
    soundfile.write(home / f"{title}.flac", np.stack([mix, mix], 1), SOURCE_RATE)
    sidecar = {"title": title, "artist": artist, "description": f"{title} by {artist}", "bpm": 120}
    if stems:
        (home / f"{title}.stems").mkdir()
        sidecar["stems"] = {name: f"{title}.stems/{name}.flac" for name in stems}
        for name, part in parts.items():
            soundfile.write(home / sidecar["stems"][name], part, SOURCE_RATE)
    (home / f"{title}.json").write_text(json.dumps(sidecar))
    return home / f"{title}.flac"


def write_song(folder: Path, artist: str, title: str, seconds: float) -> Path:
    """A track of random notes with its sidecar, unlike any other title's."""
    home = folder / artist
    home.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng([*artist.encode(), *title.encode()])
    n_notes = math.ceil(4 * seconds)
    pitch = np.repeat(220 * 2 ** (rng.integers(0, 24, n_notes) / 12), SOURCE_RATE // 4)
    pitch = pitch[: int(seconds * SOURCE_RATE)]
    wav = 0.3 * np.sin(2 * np.pi * np.cumsum(pitch) / SOURCE_RATE) + 0.01 * rng.normal(
        size=len(pitch)
    )
    soundfile.write(home / f"{title}.flac", np.stack([wav, wav], 1), SOURCE_RATE)
    sidecar = {"title": title, "artist": artist, "description": f"{title} by {artist}"}
    (home / f"{title}.json").write_text(json.dumps(sidecar))
    return home / f"{title}.flac"


def read_npy(data: bytes) -> np.ndarray:
    return np.load(io.BytesIO(data), allow_pickle=False)


def files_of(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


def failures_of(folder: Path) -> dict[str, dict]:
    lines = (folder / "failures.jsonl").read_text().splitlines()
    return {entry["file"]: entry for entry in map(json.loads, lines)}
