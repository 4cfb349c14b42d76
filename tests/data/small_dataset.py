"""Datasets whose samples say which they are: sample i holds the constant i / 1000, or codes i."""

import io
import json
from pathlib import Path

import numpy as np
import torch

from musicgen_train.data.audio import encode_flac
from musicgen_train.data.shards import DatasetWriter

RATE, FRAME_RATE, HOP = 1000, 50.0, 100
INFO = {
    "sample_rate": RATE, "channels": 1, "segment_duration": 2.0, "codec_identity": "c0dec",
    "n_q": 2, "card": 1024, "frame_rate": FRAME_RATE, "chroma": {"hop": HOP},
}  # fmt: skip


def write_dataset(
    folder: Path, n_train: int, n_valid: int = 0, seconds: float = 2.0, shard_bytes: int = 20000
) -> Path:
    """Sample i's codes are i on codebook 0 and the frame's number on codebook 1."""
    folder.mkdir()
    writer = DatasetWriter(folder, ["chroma.npy", "codes.npy", "flac", "json"], shard_bytes)
    for i in range(n_train + n_valid):
        n_samples, n_frames = round(seconds * RATE), round(seconds * FRAME_RATE)
        codes = np.stack([np.full(n_frames, i), np.arange(n_frames)])
        chroma = np.repeat(np.arange(n_samples // HOP + 1)[:, None], 12, 1) / 100
        files = {
            "flac": encode_flac(ramp(i, n_samples), RATE),
            "codes.npy": npy(codes.astype(np.uint16)),
            "chroma.npy": npy(chroma.astype(np.float16)),
            "json": json.dumps({"description": f"sample {i}"}).encode(),
        }
        writer.write(f"s{i:03d}", files, "train" if i < n_train else "valid", seconds)
    writer.close(dict(INFO))
    return folder


def ramp(i: int, n_samples: int) -> torch.Tensor:
    """A wav [1, N] whose every sample tells its place: (place + i) / 2^14, exact in 16 bits."""
    return (torch.arange(n_samples)[None] + i) / 2**14


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
