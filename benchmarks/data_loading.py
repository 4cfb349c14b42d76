"""Our loader beside a plain webdataset pipeline that reads the same shards.

Samples are 30 s of 32 kHz mono: codes [4, 1500] with chroma and metadata, and FLAC. Both read them
in turn in one process, from the page cache; figures are medians over rounds. webdataset shuffles
within a buffer, where ours is a shuffle of everything.
"""

import io
import json
import statistics
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from benchmarks.memory import in_fresh_process, status_mib
from benchmarks.results import Row
from benchmarks.timing import times_as_fast

SECONDS, RATE, FRAME_RATE, HOP = 30.0, 32000, 50.0, 4096
BATCH = 64
NEEDED = 3 * BATCH  # samples/s: a GPU that trains `small` takes at most 3 such steps per second
TASKS: dict[str, tuple[str, float | None]] = {
    "reading codes": ("codes", None),
    "reading audio, whole": ("audio", None),
    "reading audio, crops of 1 s": ("audio", 1.0),
}
INFO = {
    "sample_rate": RATE, "channels": 1, "segment_duration": SECONDS, "codec_identity": "none",
    "n_q": 4, "card": 2048, "frame_rate": FRAME_RATE, "chroma": {"hop": HOP},
}  # fmt: skip
METADATA = {
    "description": "A warm acoustic guitar with soft piano chords, slow and calm.",
    "title": "Evening", "artist": "Somebody", "genre": ["folk"], "moods": ["calm", "warm"],
    "instrument": ["guitar", "piano"], "bpm": 84, "key": "D major", "track_id": "0" * 32,
    "offset": 30.0, "duration": SECONDS, "loudness": -16.2, "silence": 0.0,
}  # fmt: skip


class Plan(NamedTuple):
    """How much is read."""

    rounds: int = 5
    workers: int = 2
    batches: Mapping[str, int] = {"codes": 96, "audio": 32}
    samples: Mapping[str, int] = {"codes": 4096, "audio": 128}
    indexed: int = 1_000_000


def write_shards(folder: Path, kind: str, n_samples: int) -> Path:
    from musicgen_train.data.shards import DatasetWriter

    folder.mkdir(parents=True)
    rng = np.random.default_rng(0)
    content = "codes.npy" if kind == "codes" else "flac"
    writer = DatasetWriter(folder, ["chroma.npy", content, "json"], shard_bytes=32 << 20)
    music = flac_music() if kind == "audio" else b""
    for number in range(n_samples):
        codes = rng.integers(0, 2048, (4, round(SECONDS * FRAME_RATE)), np.uint16)
        chroma = rng.random((1 + round(SECONDS * RATE) // HOP, 12), np.float32)
        files = {
            content: npy(codes) if kind == "codes" else music,
            "chroma.npy": npy(chroma.astype(np.float16)),
            "json": json.dumps(METADATA).encode(),
        }
        writer.write(f"{number:08d}", files, "train", SECONDS)
    writer.close(dict(INFO))
    return folder


def flac_music() -> bytes:
    """Chords with noise at -50 dB, about as hard to pack as music: 0.6 of its PCM."""
    import torch

    from musicgen_train.data.audio import encode_flac

    rng = np.random.default_rng(0)
    time_ = np.arange(round(SECONDS * RATE)) / RATE
    notes = [np.sin(2 * np.pi * 110 * 2 ** (n / 12) * time_) * np.exp(-(time_ % (1 + n / 7)))
             for n in (0, 4, 7, 12, 16, 19)]  # fmt: skip
    wav = sum(notes) / 12 + rng.normal(0, 10 ** (-50 / 20), len(time_))
    return encode_flac(torch.from_numpy(wav[None]).float().clamp(-1, 1), RATE)


def npy(array: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, array)
    return buffer.getvalue()


def ours(folder: Path, kind: str, crop: float | None, workers: int) -> Iterable[Any]:
    from musicgen_train.data.datamodule import MusicDataModule

    batch = BATCH if kind == "codes" else 16
    return MusicDataModule(folder, kind, batch, crop, workers).train_dataloader()


def webdataset(folder: Path, kind: str, crop: float | None, workers: int) -> Iterable[Any]:
    """The pipeline of webdataset's README: shuffle, decode, batch."""
    import soundfile
    import torch
    from torch.utils.data import DataLoader
    from webdataset.compat import WebDataset

    rng = np.random.default_rng(0)

    def decode(sample: dict[str, Any]) -> tuple[Any, ...]:
        if kind == "codes":
            codes = np.load(io.BytesIO(sample["codes.npy"])).astype(np.int64)
            content = torch.from_numpy(codes)
        else:
            wav, _ = soundfile.read(io.BytesIO(sample["flac"]), dtype="float32", always_2d=True)
            length = round((crop or SECONDS) * RATE)
            start = rng.integers(len(wav) - length + 1)
            content = torch.from_numpy(wav[start : start + length].T.copy())
        chroma = np.load(io.BytesIO(sample["chroma.npy"])).astype(np.float32)
        return content, torch.from_numpy(chroma), json.loads(sample["json"]), sample["__key__"]

    def collate(samples: list[tuple[Any, ...]]) -> tuple[Any, ...]:
        contents, chromas, metadata, keys = zip(*samples, strict=True)
        return torch.stack(contents), torch.stack(chromas), list(metadata), list(keys)

    shards = [str(path) for path in sorted(folder.glob("*.tar"))]
    dataset: Any = WebDataset(shards, resampled=True, shardshuffle=False)
    batch = BATCH if kind == "codes" else 16
    dataset = dataset.shuffle(256 if kind == "codes" else 32).map(decode)
    dataset = dataset.batched(batch, collation_fn=collate)
    return DataLoader(dataset, batch_size=None, num_workers=workers)


def rate(batches: Iterable[Any], n_batches: int) -> float:
    """Samples/s, the start of workers and the filling of buffers not counted."""
    iterator = iter(batches)
    for _ in range(4):
        next(iterator)
    began = time.perf_counter()
    n_samples = sum(len(next(iterator)[0]) for _ in range(n_batches))
    return n_samples / (time.perf_counter() - began)


def compare(task: str, folder: Path, workers: int, plan: Plan) -> Row:
    """Samples a second of both, each on loaders of its own in every round."""
    kind, crop = TASKS[task]
    n_batches = plan.batches[kind]  # many beside the 4 that workers read ahead
    loaders: dict[str, Callable[..., Iterable[Any]]] = {"ours": ours, "webdataset": webdataset}
    rates: dict[str, list[float]] = {name: [] for name in loaders}
    for _ in range(plan.rounds):
        for name, make in loaders.items():
            rates[name].append(rate(make(folder, kind, crop, workers), n_batches))
    medians = {name: statistics.median(found) for name, found in rates.items()}
    note = ""
    if kind == "codes":
        note = f"{medians['ours'] / NEEDED:.0f} times three steps of {BATCH} a second"
    return Row(
        "data", f"{task}, {workers} workers", medians["ours"], "samples/s", "webdataset",
        medians["webdataset"], times_as_fast(rates["webdataset"], rates["ours"]), plan.rounds,
        note=note,
    )  # fmt: skip


def index_memory(n_samples: int) -> dict[str, float]:
    """Seconds to write and open an index of so many samples, its MiB, and those of an order."""
    from musicgen_train.data.index import INFO_NAME, load_index, save_index
    from musicgen_train.data.order import epoch_order

    rows = np.arange(n_samples)
    size = np.tile(np.array([5768, 12128, 420]), (n_samples, 1))
    arrays = {
        "keys": np.array([b"%024d_000" % row for row in range(n_samples)]),
        "shard": (rows // 10000).astype(np.int32),
        "split": np.zeros(n_samples, np.uint8),
        "duration": np.full(n_samples, SECONDS),
        "members": np.array([b"chroma.npy", b"codes.npy", b"json"]),
        "offset": (rows % 10000)[:, None] * 22016 + np.array([512, 7168, 20480]),
        "size": size,
    }
    shards = [{"bytes": 1 << 28, "sha256": "0"}] * (n_samples // 10000 + 1)
    with tempfile.TemporaryDirectory() as folder:
        fingerprint = save_index(Path(folder), arrays, [shard["sha256"] for shard in shards])
        info = INFO | {"format_version": 1, "shards": shards, "fingerprint": fingerprint}
        (Path(folder) / INFO_NAME).write_text(json.dumps(info))
        del arrays, size, rows
        before, began = status_mib("VmRSS"), time.perf_counter()
        index = load_index(folder)
        opened = time.perf_counter() - began
        held = status_mib("VmRSS") - before
        began = time.perf_counter()
        order = epoch_order(len(index), 0, 0)
        return {
            "open s": round(opened, 2),
            "index MiB": round(held),
            "order s": round(time.perf_counter() - began, 2),
            "order MiB": round(order.nbytes / 2**20),
        }


def rows(folder: Path, plan: Plan) -> Iterator[Row]:
    """Samples/s of both loaders on shards that are written to `folder`; then the index."""
    folders = {kind: write_shards(folder / kind, kind, n) for kind, n in plan.samples.items()}
    for task, (kind, _) in TASKS.items():
        for workers in dict.fromkeys((0, plan.workers)):
            yield compare(task, folders[kind], workers, plan)
    found = in_fresh_process(index_memory, plan.indexed)
    note = f"{found['index MiB']} MiB; an epoch's order {found['order s']} s"
    case = f"opening an index of {plan.indexed} samples"
    yield Row("data", case, found["open s"], "s", rounds=1, note=note)
