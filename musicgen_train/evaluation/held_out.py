"""Held-out segments: some to prompt the model with, others as the real music to compare with."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.data.index import DatasetIndex, load_index
from musicgen_train.data.segments import BadSample, SegmentReader
from musicgen_train.data.shards import ShardReader
from musicgen_train.errors import UserError

GOLDEN = (5**0.5 - 1) / 2


class Segment(NamedTuple):
    """One held-out piece of real music with what is known about it; its sound stays on disk."""

    name: str
    track: str  # segments of one track resemble each other
    metadata: dict[str, Any]
    chroma: Tensor | None  # [F, 12] dense chroma of its melody
    read: Callable[[], Tensor]  # wav [C, N]

    @property
    def description(self) -> str:
        return self.metadata.get("description") or ""

    def label(self, field: str) -> str | None:
        """Instrument or genre as one string; the first, if the metadata lists several."""
        value = self.metadata.get(field)
        if isinstance(value, list):
            value = value[0] if value else None
        return str(value) if value else None


class HeldOut(NamedTuple):
    """Two sets without a common track, so that their distance is that of real music to itself."""

    prompts: list[Segment]  # their descriptions and melodies go into the model
    others: list[Segment]  # the real music that everything is measured against
    splits: list[str]
    sample_rate: int
    channels: int
    chroma: dict[str, int] | None  # how the melodies' chroma was made
    bad: dict[str, str]  # samples that cannot be read, and why: left out
    fingerprint: str  # of the dataset


def read_held_out(
    dataset: Path | str, n_clips: int, duration: float, splits: Sequence[str] = ("test", "valid")
) -> HeldOut:
    """At most `n_clips` segments of `duration` seconds for each set.

    A later split is used only where the earlier ones have fewer than 2 `n_clips` segments. Tracks
    are dealt out alternately in order of genre and instrument, so both sets hold the same mixture,
    and taken from everywhere in that order: also the first few are of all kinds.
    """
    index, rows, used = find_held_out(dataset, 2 * n_clips, duration, splits)
    reader = SegmentReader(ShardReader(index), "audio", duration)
    tracks, bad = dict[str, list[Segment]](), dict[str, str]()
    for row in rows:
        try:
            segment = read_segment(reader, row)
        except BadSample as error:
            bad[error.key] = error.reason
            continue
        tracks.setdefault(segment.track, []).append(segment)
    if len(tracks) < 2:
        raise UserError(
            f"{dataset} has one track in {' and '.join(used)}; evaluation needs at least 2"
        )
    ordered = sorted(tracks, key=lambda t: _mixture_key(tracks[t][0]))
    prompts, others = (
        deal([tracks[name] for name in spread(ordered[side::2])], n_clips) for side in (0, 1)
    )
    if min(len(prompts), len(others)) < 2:
        raise UserError(
            f"{dataset} has {len(rows)} segments of {duration:g} s in {' and '.join(used)}, of "
            f"{len(tracks)} tracks; evaluation needs 2 in each of its two halves: prepare more "
            "songs, or larger valid_fraction and test_fraction"
        )
    info = index.info
    sound = info["sample_rate"], info["channels"]
    return HeldOut(prompts, others, used, *sound, info.get("chroma"), bad, index.fingerprint)


def find_held_out(
    dataset: Path | str, wanted: int, duration: float, splits: Sequence[str]
) -> tuple[DatasetIndex, list[int], list[str]]:
    """A dataset with audio, its rows that hold `duration` seconds, and the splits they are of."""
    index = load_index(dataset)
    if "flac" not in index.members:
        raise UserError(f"{dataset} holds no audio; give the dataset that data_prep.prepare wrote")
    rows, used = held_out_rows(index, wanted, duration, splits)
    if not rows:
        raise UserError(
            f"{dataset} has no segment of {duration:g} s in {' or '.join(splits)}; "
            "lower duration or prepare more songs"
        )
    return index, rows, used


def check_sound(
    codec: Encodec | StereoCodec, channels: int, sample_rate: int, dataset: Path | str
) -> None:
    """Refuse a dataset whose audio the codec cannot take as it is."""
    if sample_rate != codec.sample_rate or channels != codec.channels:
        raise UserError(
            f"{dataset} holds {channels} channel(s) at {sample_rate} Hz, the codec takes "
            f"{codec.channels} at {codec.sample_rate} Hz; prepare the songs again with "
            f"sample_rate={codec.sample_rate} channels={codec.channels}"
        )


def held_out_rows(
    index: DatasetIndex, wanted: int, duration: float, splits: Sequence[str]
) -> tuple[list[int], list[str]]:
    """Rows of the first splits that together hold `wanted` segments, and those splits.

    Segments shorter than `duration` are left out: padded with silence they would not be music.
    """
    rows: list[int] = []
    used: list[str] = []
    for split in splits:
        found = [row for row in index.rows(split).tolist() if index.duration[row] >= duration]
        if len(rows) < wanted and found:
            rows += found
            used.append(split)
    return rows, used


def read_segment(reader: SegmentReader, row: int) -> Segment:
    """The beginning of one sample; BadSample if it is damaged."""
    sample = reader.read(row, 0.0)
    track = str(sample.metadata.get("track_id") or sample.key.rpartition("_")[0] or sample.key)

    def read() -> Tensor:
        return reader.read(row, 0.0).content

    return Segment(sample.key, track, sample.metadata, sample.chroma, read)


def spread(names: Sequence[str]) -> list[str]:
    """The same names, so ordered that the first few come from all over the sequence."""
    # Multiples of the golden ratio, modulo 1: those below any bound leave gaps of about one size.
    places = sorted(range(len(names)), key=lambda i: i * GOLDEN % 1)
    return [names[i] for i in places]


def deal(tracks: Sequence[list[Segment]], n: int) -> list[Segment]:
    """`n` segments, one of each track in turn, from anywhere in the track.

    In order, the first turn would take nothing but openings, where the lead instrument and the
    melody have often not begun.
    """
    shuffled = [sorted(track, key=_drawn) for track in tracks]
    rounds = max(map(len, tracks))
    dealt = [track[turn] for turn in range(rounds) for track in shuffled if turn < len(track)]
    return dealt[:n]


def _drawn(segment: Segment) -> str:
    """A fixed lot for each segment."""
    return hashlib.sha256(segment.name.encode()).hexdigest()


def _mixture_key(segment: Segment) -> tuple[str, str, str]:
    return (segment.label("genre") or "", segment.label("instrument") or "", segment.track)
