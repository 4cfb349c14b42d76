"""Datasets whose samples say which they are: sample i holds the constant i / 1000, or codes i."""

import io
import json
import tarfile
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import torch

from musicgen_train.data.audio import encode_flac
from musicgen_train.data.index import load_index
from musicgen_train.data.mixture import SampleOrder
from musicgen_train.data.order import epoch_order
from musicgen_train.data.segments import SegmentReader
from musicgen_train.data.shards import DatasetWriter
from musicgen_train.data.streams import Source, TrainStream

RATE, FRAME_RATE, HOP = 1000, 50.0, 100
INFO = {
    "sample_rate": RATE, "channels": 1, "segment_duration": 2.0, "codec_identity": "c0dec",
    "n_q": 2, "card": 1024, "frame_rate": FRAME_RATE, "chroma": {"hop": HOP},
}  # fmt: skip


def write_dataset(
    folder: Path,
    n_train: int,
    n_valid: int = 0,
    seconds: float = 2.0,
    shard_bytes: int = 20000,
    name: str = "s",
    codes: np.ndarray | None = None,
) -> Path:
    """Sample i's codes are i on codebook 0 and the frame's number on codebook 1."""
    folder.mkdir()
    writer = DatasetWriter(folder, ["chroma.npy", "codes.npy", "flac", "json"], shard_bytes)
    for i in range(n_train + n_valid):
        files = sample(i, seconds)
        if codes is not None:
            files["codes.npy"] = npy(codes)
        split = "train" if i < n_train else "valid"
        writer.write(f"{name}{i:03d}", files, split, seconds)
    writer.close(dict(INFO))
    return folder


def sample(i: int, seconds: float) -> dict[str, bytes]:
    n_samples, n_frames = round(seconds * RATE), round(seconds * FRAME_RATE)
    codes = np.stack([np.full(n_frames, i), np.arange(n_frames)])
    chroma = np.repeat(np.arange(n_samples // HOP + 1)[:, None], 12, 1) / 100
    return {
        "flac": encode_flac(ramp(i, n_samples), RATE),
        "codes.npy": npy(codes.astype(np.uint16)),
        "chroma.npy": npy(chroma.astype(np.float16)),
        "json": json.dumps({"description": f"sample {i}"}).encode(),
    }


def damage(folder: Path, row: int, member: str, change: Callable[[bytes], bytes]) -> None:
    """Write the dataset anew with one member changed, as a faulty disk at its making would."""
    old = load_index(folder)
    samples: dict[str, dict[str, bytes]] = {}
    for shard in sorted(folder.glob("*.tar")):
        with tarfile.open(shard) as tar:
            for entry in tar:
                key, extension = entry.name.split(".", 1)
                samples.setdefault(key, {})[extension] = tar.extractfile(entry).read()
    samples[old.key(row)][member] = change(samples[old.key(row)][member])
    shard_bytes = max(1, max(old.shard_sizes().values()) - 10240)
    writer = DatasetWriter(folder, old.members, shard_bytes)
    splits = [("train", "valid", "test")[i] for i in old.split]
    for (key, files), split, seconds in zip(samples.items(), splits, old.duration, strict=True):
        writer.write(key, files, split, float(seconds))
    writer.close(dict(INFO))


def train_stream(segments: SegmentReader, batch_size: int, seed: int) -> TrainStream:
    rows = segments.shards.index.rows("train")
    order = SampleOrder([len(rows)], [1.0], seed, [partial(epoch_order, len(rows))])
    return TrainStream([Source(segments, rows)], order, batch_size)


def ramp(i: int, n_samples: int) -> torch.Tensor:
    """A wav [1, N] whose every sample tells its place: (place + i) / 2^14, exact in 16 bits."""
    return (torch.arange(n_samples)[None] + i) / 2**14


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()
