"""Cut one track into segments and write them, with their chroma and metadata, as a small tar."""

import functools
import io
import json
import math
import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from data_prep.library import FIELDS, Track, read_sidecar, split_group
from data_prep.separation import (
    Separated,
    keep_mix,
    separate_with_demucs,
    sum_stems,
)
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.data.audio import encode_flac, resample, to_channels
from musicgen_train.errors import UserError

MEMBERS = ("chroma.npy", "flac", "json")


@dataclass(frozen=True)
class SegmentSettings:
    """Everything that changes a track's segments."""

    sample_rate: int = 32000
    channels: int = 1
    segment_duration: float = 30.0  # seconds
    min_duration: float = 4.0  # seconds; a shorter rest of a track is dropped
    silence_db: float = -60.0  # RMS in dB of full scale; a quieter segment is dropped
    separator: str = "none"
    demucs_model: str = "htdemucs"
    demucs_repo: str | None = None
    device: str = "cpu"
    chroma_window: int = 16384  # samples
    chroma_hop: int = 4096  # samples

    def __post_init__(self) -> None:
        for name in ("segment_duration", "min_duration", "silence_db"):
            object.__setattr__(self, name, float(getattr(self, name)))  # 10 and 10.0: one hash


class TrackReport(NamedTuple):
    """What became of one track."""

    track: Track
    status: str  # "kept", "filtered" (nothing left to keep) or "failed"
    reason: str = ""
    group: str = ""
    n_segments: int = 0
    n_silent: int = 0
    n_short: int = 0


class Segment(NamedTuple):
    """One stretch of a track."""

    start: int  # sample
    target: Tensor  # [C, N]
    melodic: Tensor  # [C, N]


def prepare_track(track: Track, settings: SegmentSettings, parts: Path) -> TrackReport:
    """Write `<parts>/<key>.tar` with the track's segments; a bad track is reported, not raised."""
    try:
        sidecar = read_sidecar(track)
        segments, n_silent, n_short = cut(separate(track, sidecar, settings), settings)
    except UserError as error:
        return TrackReport(track, "failed", str(error))
    except Exception as error:
        return TrackReport(track, "failed", f"{type(error).__name__}: {error}".splitlines()[0])
    counts = len(segments), n_silent, n_short
    if not segments:
        reason = f"no segment is long and loud enough ({n_silent} silent, {n_short} short)"
        return TrackReport(track, "filtered", reason, "", *counts)
    write_part(part_path(parts, track), track, sidecar, segments, settings)
    return TrackReport(track, "kept", "", split_group(track, sidecar), *counts)


def separate(track: Track, sidecar: dict[str, Any], settings: SegmentSettings) -> Separated:
    """The track without vocals, at the dataset's rate and channels, within full scale."""
    if settings.separator == "stems":
        found = sum_stems(track, sidecar)
    elif settings.separator == "demucs":
        found = separate_with_demucs(
            track, settings.demucs_model, settings.demucs_repo, settings.device
        )
    else:
        found = keep_mix(track)
    target, melodic = (
        to_channels(resample(wav, found.sample_rate, settings.sample_rate), settings.channels)
        for wav in (found.target, found.melodic)
    )
    target = target / target.abs().max().clamp_min(1.0)  # FLAC would clip what exceeds 1
    return Separated(target, melodic, settings.sample_rate)


def cut(track: Separated, settings: SegmentSettings) -> tuple[list[Segment], int, int]:
    """Segments worth keeping, the number of silent ones, and whether the rest was too short."""
    length = round(settings.segment_duration * settings.sample_rate)
    shortest = round(settings.min_duration * settings.sample_rate)
    segments, n_silent, n_short = [], 0, 0
    for start in range(0, track.target.shape[1], length):
        target = track.target[:, start : start + length]
        if target.shape[1] < min(shortest, length):
            n_short += 1
        elif level_db(target) < settings.silence_db:
            n_silent += 1
        else:
            segments.append(Segment(start, target, track.melodic[:, start : start + length]))
    return segments, n_silent, n_short


def level_db(wav: Tensor) -> float:
    """RMS level in dB of full scale."""
    return 20 * math.log10(max(wav.square().mean().sqrt().item(), 1e-10))


def write_part(
    path: Path,
    track: Track,
    sidecar: dict[str, Any],
    segments: list[Segment],
    settings: SegmentSettings,
) -> None:
    from webdataset.writer import TarWriter

    extract = chroma_extractor(settings.sample_rate, settings.chroma_window, settings.chroma_hop)
    temporary = path.with_suffix(".tmp")
    with temporary.open("wb") as file, TarWriter(file, encoder=False, mtime=0) as tar:
        for number, segment in enumerate(segments):
            metadata = {name: sidecar[name] for name in FIELDS if name in sidecar}
            metadata |= {
                "track_id": track.key,
                "offset": segment.start / settings.sample_rate,
                "duration": segment.target.shape[1] / settings.sample_rate,
            }
            tar.write(
                {
                    "__key__": f"{track.key}_{number:04d}",
                    "flac": encode_flac(segment.target, settings.sample_rate),
                    "json": json.dumps(metadata, ensure_ascii=False).encode(),
                    "chroma.npy": npy_bytes(extract(segment.melodic[None])[0].numpy(), np.float16),
                }
            )
    os.replace(temporary, path)


def read_part(path: Path) -> Iterator[tuple[str, dict[str, bytes]]]:
    """Yield (key, extension -> bytes) of each segment, in order."""
    key, files = "", {}
    with tarfile.open(path, "r:") as tar:
        for member in tar:
            name, extension = member.name.split(".", 1)
            if name != key and files:
                yield key, files
                files = {}
            content = tar.extractfile(member)
            assert content is not None, member.name
            key, files[extension] = name, content.read()
    yield key, files


def part_path(parts: Path, track: Track) -> Path:
    return parts / f"{track.key}.tar"


def npy_bytes(array: np.ndarray, dtype: Any) -> bytes:
    buffer = io.BytesIO()
    np.save(buffer, np.ascontiguousarray(array.astype(dtype)), allow_pickle=False)
    return buffer.getvalue()


@functools.lru_cache(maxsize=1)
def chroma_extractor(sample_rate: int, window: int, hop: int) -> torch.nn.Module:
    return ChromaExtractor(sample_rate, window=window, hop=hop)
