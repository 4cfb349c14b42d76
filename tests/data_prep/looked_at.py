"""Small datasets to look at, whose metadata can be anything."""

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from musicgen_train.data.audio import encode_flac
from musicgen_train.data.shards import DatasetWriter
from tests.data.small_dataset import npy

RATE = 4000
INFO = {
    "sample_rate": RATE, "channels": 1, "codec_identity": None,
    "tracks": {"files": 2, "kept": 2, "filtered": 0, "failed": 0}, "reasons": {},
}  # fmt: skip
CODES_INFO = {
    **INFO, "codec_identity": "c0dec", "n_q": 2, "card": 16, "frame_rate": 50.0,
    "unigram_entropy": [math.log(16), 0.0], "codebook_usage": [1.0, 1 / 16],
}  # fmt: skip


def tone(seconds: float = 1.0, level: float = 0.1) -> bytes:
    """A flac of 440 Hz."""
    time = torch.arange(round(seconds * RATE)) / RATE
    return encode_flac(level * torch.sin(2 * torch.pi * 440 * time)[None], RATE)


def write_looked_at(
    folder: Path,
    metadata: Sequence[Any],
    splits: Sequence[str] = (),
    info: dict[str, Any] = INFO,
    files: dict[str, bytes] | None = None,
    failures: Sequence[dict[str, Any]] | None = (),
) -> Path:
    """One segment per entry of `metadata`: an object for its JSON, or the bytes themselves.

    `files` replace the tone that is the audio of all of them.
    """
    folder.mkdir(parents=True)
    files = {"flac": tone()} if files is None else files
    writer = DatasetWriter(folder, sorted({"json", *files}), 4096)
    for number, entry in enumerate(metadata):
        data = entry if isinstance(entry, bytes) else json.dumps(entry).encode()
        split = splits[number] if splits else "train"
        writer.write(f"s{number}", {**files, "json": data}, split, 1.0)
    writer.close(info)
    if failures is not None:
        lines = [json.dumps(entry) + "\n" for entry in failures]
        (folder / "failures.jsonl").write_text("".join(lines))
    return folder


def codes(n_q: int = 2, n_frames: int = 50, highest: int = 15) -> bytes:
    """Codes [n_q, n_frames] of which the last is `highest`."""
    array = np.zeros((n_q, n_frames), np.uint16)
    array[-1, -1] = highest
    return npy(array)
