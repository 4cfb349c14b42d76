"""What a codec is evaluated on: held-out segments of a dataset, or a folder of audio files."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.data.audio import read_audio, resample, to_channels
from musicgen_train.data.segments import SegmentReader
from musicgen_train.data.shards import ShardReader
from musicgen_train.evaluation.clips import find_clips
from musicgen_train.evaluation.held_out import check_sound, find_held_out


class CodecInput(NamedTuple):
    """One clip that is read when its turn comes, so that many take no more memory than one."""

    name: str
    track: str  # clips of one track resemble each other
    read: Callable[[], Tensor]  # wav [C, N] at the codec's rate; AudioError if it is broken


class CodecInputs(NamedTuple):
    """The clips, in order, and where they come from in words."""

    clips: list[CodecInput]
    origin: str


def folder_inputs(codec: Encodec, folder: Path) -> CodecInputs:
    """Every audio file below a folder, of any length, brought to the codec's rate and channels."""

    def reader(path: Path) -> Callable[[], Tensor]:
        def read() -> Tensor:
            wav, rate = read_audio(path)
            return to_channels(resample(wav, rate, codec.sample_rate), codec.channels)

        return read

    names = [(str(path.relative_to(folder)), path) for path in find_clips(folder)]
    return CodecInputs(
        [CodecInput(name, name, reader(path)) for name, path in names], f"files of {folder}"
    )


def dataset_inputs(
    codec: Encodec, dataset: Path | str, n_clips: int, duration: float, splits: Sequence[str]
) -> CodecInputs:
    """At most `n_clips` held-out segments, cut to `duration` seconds, one of each track in turn."""
    index, rows, used = find_held_out(dataset, n_clips, duration, splits)
    check_sound(codec, index.info["channels"], index.info["sample_rate"], dataset)
    segments = SegmentReader(ShardReader(index), "audio", duration, with_chroma=False)
    clips = []
    for row in _dealt(rows, index.key)[:n_clips]:
        key = index.key(row)
        clips.append(CodecInput(key, _track(key), lambda row=row: segments.read(row, 0.0).content))
    named = f"{' and '.join(used)} split{'s' if len(used) > 1 else ''}"
    return CodecInputs(clips, f"segments of {duration:g} s from the {named} of {dataset}")


def _dealt(rows: Sequence[int], key_of: Callable[[int], str]) -> list[int]:
    """All rows, in turns of one a track, each track in an order drawn once and for all."""
    tracks: dict[str, list[int]] = {}
    for row in sorted(rows, key=lambda row: hashlib.sha256(key_of(row).encode()).digest()):
        tracks.setdefault(_track(key_of(row)), []).append(row)
    turns = {row: turn for members in tracks.values() for turn, row in enumerate(members)}
    return sorted(turns, key=lambda row: turns[row])


def _track(key: str) -> str:
    """Segments are named `<track>_<n>`."""
    return key.rpartition("_")[0] or key
