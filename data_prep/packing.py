"""Join the parts of all tracks into shards: duplicates out, metadata in, each track in a split."""

import hashlib
import importlib.metadata
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

import numpy as np

from data_prep.captions import compose_description
from data_prep.duplicates import Candidate, find_duplicates
from data_prep.fields import FIELDS
from data_prep.folders import NothingUsable
from data_prep.library import printable
from data_prep.parts import part_path, read_report, read_samples
from data_prep.progress import progress_bar
from data_prep.splits import assign_splits
from data_prep.tracks import TrackReport
from musicgen_train.data.index import SPLITS
from musicgen_train.data.shards import DatasetWriter

MEMBERS = ("chroma.npy", "flac", "json")


@dataclass(frozen=True)
class PackSettings:
    """Everything that decides which tracks go where."""

    duplicates: str = "near"  # which to remove: "near", "exact" or "none"
    compose_descriptions: bool = True  # where the metadata has none
    valid_fraction: float = 0.1  # of the artists
    test_fraction: float = 0.1
    seed: int = 0
    shard_mb: float = 256.0


def pack(
    reports: Sequence[TrackReport],
    unreadable: Mapping[str, str],
    work: Path,
    folder: Path,
    settings: PackSettings,
    info: dict[str, Any],
) -> dict[str, Any]:
    """Write shards, index, failures.jsonl and dataset.json; account for every file.

    reports: of all tracks. unreadable: name -> reason of what could not be listed. info: what
    dataset.json tells besides. Equal parts and settings give equal bytes.
    """
    reports = sorted(reports, key=lambda report: report.track.name)
    reports = without_duplicates(reports, work, settings.duplicates)
    kept = [report for report in reports if report.status == "kept"]
    write_failures(folder / "failures.jsonl", reports, unreadable)
    if not kept:
        raise NothingUsable(_nothing_kept(reports, unreadable))
    split_of = assign_splits(
        [split_group(report) for report in kept],
        settings.valid_fraction, settings.test_fraction, settings.seed,
    )  # fmt: skip
    # Shuffled tracks make every shard a fair sample of its split, for those who read in order.
    rows = sorted(
        ((split_of[split_group(report)], report) for report in kept),
        key=lambda row: (SPLITS.index(row[0]), _rank(row[1], settings.seed)),
    )
    with (
        DatasetWriter(folder, MEMBERS, int(settings.shard_mb * 2**20)) as writer,
        progress_bar("packing", len(rows)) as bar,
    ):
        for split, report in rows:
            write_track(writer, report, part_path(work, report.part), split, settings)
            bar.advance()
        return writer.close({**info, **count_tracks(reports, unreadable)})


def write_track(
    writer: DatasetWriter, report: TrackReport, part: Path, split: str, settings: PackSettings
) -> None:
    """Write one track's segments with its metadata."""
    found = read_report(part)
    assert found is not None, part
    about = describe_track(report.metadata, found[0]["estimates"], settings.compose_descriptions)
    about |= {"track_id": report.track.key, "file": printable(report.track.name)}
    for number, files in enumerate(read_samples(part)):
        metadata = about | json.loads(files["json"]) | {"split": split}
        files["json"] = json.dumps(metadata, ensure_ascii=False).encode()
        key = f"{report.track.key}_{number:04d}"
        writer.write(key, files, split, metadata["duration"])


def describe_track(
    metadata: Mapping[str, Any], estimates: Mapping[str, Any], compose: bool
) -> dict[str, Any]:
    """A track's fields: given ones first, then estimates, which `estimated` names."""
    about = {name: metadata[name] for name in FIELDS if metadata.get(name) not in (None, "", [])}
    estimated = [
        name for name in FIELDS if name not in about and estimates.get(name) not in (None, "", [])
    ]
    about |= {name: estimates[name] for name in estimated}
    if compose and "description" not in about and (text := compose_description(about)):
        about["description"] = text
        if estimated:
            estimated.append("description")
    return {**about, "estimated": estimated} if estimated else about


def without_duplicates(reports: Sequence[TrackReport], work: Path, which: str) -> list[TrackReport]:
    """The reports, with copies of a track turned into filtered ones that name it."""
    if which == "none":
        return list(reports)
    kept = [report for report in reports if report.status == "kept"]
    with TemporaryFile() as file:
        losers = find_duplicates(_candidates(kept, work, which == "near", file))

    def judged(report: TrackReport) -> TrackReport:
        if report.status != "kept" or report.track.name not in losers:
            return report
        winner, likeness = losers[report.track.name]
        if likeness == 1.0:
            return report._replace(status="filtered", reason=f"is a duplicate (of {winner})")
        return report._replace(
            status="filtered",
            reason=f"is a near-duplicate (of {winner}, {100 * likeness:.0f} % alike)",
        )

    return [judged(report) for report in reports]


def _candidates(kept: Sequence[TrackReport], work: Path, near: bool, file: Any) -> list[Candidate]:
    """What tells copies; the fingerprints, 18 kB a song, lie in a file and not in memory."""
    found, lengths = [], []
    for report in kept:
        part = read_report(part_path(work, report.part))
        assert part is not None, report.part
        facts, arrays = part
        found.append((report.track.name, facts["audio_hash"], facts["duration"]))
        lengths.append(len(arrays["fingerprint"]) if near else 0)
        if near:
            file.write(arrays["fingerprint"].tobytes())
    file.flush()
    words = np.memmap(file, np.uint32, "r") if sum(lengths) else np.zeros(0, np.uint32)
    prints = np.split(words, np.cumsum(lengths, dtype=int)[:-1]) if found else []
    return [
        Candidate(name, audio_hash, fingerprint, duration)
        for (name, audio_hash, duration), fingerprint in zip(found, prints, strict=True)
    ]


def split_group(report: TrackReport) -> str:
    """Tracks of one group stay in one split: the artist's, else only the track itself."""
    artist = str(report.metadata.get("artist") or "").strip().casefold()
    return f"artist:{artist}" if artist else f"track:{report.track.name}"


def count_tracks(reports: Sequence[TrackReport], unreadable: Mapping[str, str]) -> dict[str, Any]:
    """How many files became what, and why; every file is in exactly one number."""
    statuses = Counter(report.status for report in reports)
    statuses["failed"] += len(unreadable)
    files = len(reports) + len(unreadable)
    assert statuses.total() == files, statuses
    reasons = [report.reason for report in reports if report.status != "kept"]
    phrases = Counter(reason.split(" (")[0] for reason in [*reasons, *unreadable.values()])
    kept = [report for report in reports if report.status == "kept"]
    return {
        "tracks": {"files": files, **{n: statuses[n] for n in ("kept", "filtered", "failed")}},
        "reasons": dict(sorted(phrases.items())),
        "dropped_segments": {
            "silent": sum(report.n_silent for report in reports),
            "short": sum(report.n_short for report in reports),
        },
        "artists": len({split_group(report) for report in kept if report.metadata.get("artist")}),
        "versions": {
            name: importlib.metadata.version(name) for name in ("soundfile", "soxr", "torch")
        },
    }


def write_failures(
    path: Path, reports: Sequence[TrackReport], unreadable: Mapping[str, str]
) -> None:
    """A line of JSON for every file that is not in the dataset, with its reason."""
    rows = [
        (report.track.name, report.status, report.reason)
        for report in reports
        if report.status != "kept"
    ]
    rows += [(name, "failed", reason) for name, reason in unreadable.items()]
    with path.open("w", encoding="utf-8") as file:
        for name, status, reason in sorted(rows):
            entry = {"file": printable(name), "status": status, "reason": printable(reason)}
            file.write(json.dumps(entry, ensure_ascii=False) + "\n")


def _rank(report: TrackReport, seed: int) -> bytes:
    return hashlib.sha256(f"{seed}\0{report.track.key}".encode()).digest()


def _nothing_kept(reports: Sequence[TrackReport], unreadable: Mapping[str, str]) -> str:
    name, reason = next(
        ((report.track.name, report.reason) for report in reports),
        next(iter(unreadable.items()), ("", "")),
    )
    return (
        f"none of {len(reports) + len(unreadable)} audio files could be used "
        f"({printable(name)}: {printable(reason)})"
    )
