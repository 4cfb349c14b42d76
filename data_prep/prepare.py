"""Music -> dataset: python -m data_prep.prepare input_dir=… output_dir=…"""

import hashlib
import json
import os
import posixpath
import sys
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import hydra
from omegaconf import DictConfig, OmegaConf

from musicgen_train.errors import UserError, exit_on_user_error

if TYPE_CHECKING:
    from data_prep.executors import Executor
    from data_prep.library import Listing
    from data_prep.packing import PackSettings
    from data_prep.segmenting import SegmentSettings
    from data_prep.tracks import TrackReport, TrackWork

NUMBERS = {
    "sample_rate", "channels", "segment_duration", "min_duration", "silence_db", "max_silence",
    "loudness", "chroma_window", "chroma_hop", "valid_fraction", "test_fraction", "shard_mb",
    "num_workers", "gpus_per_worker", "seed",
}  # fmt: skip
CONF = str(Path(__file__).resolve().parents[1] / "conf")


def prepare(
    input_dir: str | Path,
    output_dir: str | Path,
    *,
    metadata: str | Path | None = None,
    exclude_tags: str | Sequence[str] | None = (),
    work_dir: str | Path | None = None,
    **settings: Any,
) -> dict[str, Any]:
    """Write a dataset of vocal-free segments with splits disjoint by artist; return dataset.json.

    input_dir: a folder, or a URL that fsspec opens. metadata: a CSV or JSONL table of the tracks.
    exclude_tags: words that mark tracks to leave out; "vocals" for all that tell of voices.
    work_dir: keeps each track's finished work for later runs; None removes it at the end. The other
    settings are the fields of `SegmentSettings`, `PackSettings` and `Executor`.
    """
    from data_prep.folders import WORK, alone_in, resumable_folder
    from data_prep.library import Library

    library = Library(str(input_dir))
    listing = library.list()
    table = read_metadata(metadata, listing)
    segmenting, packing, executor = sort_settings(settings)
    check_settings(segmenting, packing)
    from data_prep.packing import pack
    from data_prep.tracks import TrackWork

    words = as_words(exclude_tags)
    output = Path(os.path.abspath(str(output_dir)))
    if work_dir is not None and Path(os.path.abspath(str(work_dir))).is_relative_to(output):
        raise UserError(f"work_dir={work_dir}: lies in output_dir; choose a folder beside it")
    with resumable_folder(output) as folder:
        work = folder / WORK if work_dir is None else Path(os.path.abspath(str(work_dir)))
        with alone_in(work / "parts"):
            tracks = TrackWork(library.absolute(), work, segmenting, words, executor.device)
            reports = run_all(tracks, listing, table, executor)
            info = describe(listing, segmenting, packing, words)
            return pack(reports, listing.unreadable, work, folder, packing, info)


def read_metadata(metadata: str | Path | None, listing: "Listing") -> dict[str, dict[str, Any]]:
    """The table of the library, which must speak of its files; empty if there is none."""
    from data_prep.metadata import read_table

    if metadata is None:
        return {}
    table = read_table(Path(str(metadata)))
    names = {track.name for track in listing.tracks}
    names |= {posixpath.splitext(name)[0] for name in names}
    matched = {id(row) for name, row in table.items() if name in names}
    if not matched:
        raise UserError(
            f"{metadata}: names none of the {len(listing.tracks)} files in input_dir; give paths "
            "relative to it"
        )
    # A row is found by its file's name with and without the suffix: the longer one is told.
    whole = {id(table[name]): name for name in sorted(table, key=len)}
    unmatched = sorted(name for row, name in whole.items() if row not in matched)
    if unmatched:
        some = ", ".join(unmatched[:3]) + (", …" if len(unmatched) > 3 else "")
        print(f"{metadata}: rows that name no file: {len(unmatched)} ({some})", file=sys.stderr)
    return table


def as_words(exclude_tags: str | Sequence[str] | None) -> tuple[str, ...]:
    """What marks a track to leave out."""
    from data_prep.tag_filter import VOCAL_WORDS

    if exclude_tags == "vocals":
        return VOCAL_WORDS
    return (exclude_tags,) if isinstance(exclude_tags, str) else tuple(exclude_tags or ())


def sort_settings(
    settings: dict[str, Any],
) -> "tuple[SegmentSettings, PackSettings, Executor]":
    """Give each setting to the one that has a field of its name."""
    from dataclasses import fields

    from data_prep.executors import Executor
    from data_prep.packing import PackSettings
    from data_prep.segmenting import SegmentSettings

    clap = settings.get("clap_model") is not None
    vocabulary = (settings.get("clap_vocabulary") or f"{CONF}/tags.yaml") if clap else None
    settings = settings | {"clap_vocabulary": vocabulary}
    names = [{f.name for f in fields(kind)} for kind in (SegmentSettings, PackSettings, Executor)]
    if unknown := set(settings) - set.union(*names):
        raise UserError(f"unknown setting {min(unknown)!r}; see conf/prepare.yaml")
    mine = [{name: settings[name] for name in settings if name in known} for known in names]
    for name in NUMBERS & set(settings):
        if not isinstance(settings[name], int | float | None) or settings[name] != settings[name]:
            raise UserError(f"{name}={settings[name]}: give a number")
    return SegmentSettings(**mine[0]), PackSettings(**mine[1]), Executor(**mine[2])


def check_settings(segmenting: "SegmentSettings", packing: "PackSettings") -> None:
    """Refuse settings that cannot give a dataset, before any work."""
    from data_prep.separation import SEPARATORS
    from musicgen_train.conditioning.stems import load_demucs

    if segmenting.separator not in SEPARATORS:
        raise UserError(
            f"unknown separator {segmenting.separator!r}; use one of {', '.join(SEPARATORS)}"
        )
    for name in ("sample_rate", "segment_duration", "chroma_window", "chroma_hop"):
        if not getattr(segmenting, name) > 0:
            raise UserError(f"{name}={getattr(segmenting, name)}: give a number above 0")
    if not 1000 <= segmenting.sample_rate <= 192_000:
        raise UserError(f"sample_rate={segmenting.sample_rate}: give 1000 to 192000")
    if segmenting.channels not in (1, 2):
        raise UserError(f"channels={segmenting.channels}: give 1 or 2")
    if not packing.shard_mb > 0:
        raise UserError(f"shard_mb={packing.shard_mb}: give a number above 0")
    if packing.duplicates not in ("near", "exact", "none"):
        raise UserError(f"duplicates={packing.duplicates}: use near, exact or none")
    valid, test = packing.valid_fraction, packing.test_fraction
    if valid < 0 or test < 0 or valid + test >= 1:
        raise UserError(
            f"valid_fraction={valid}, test_fraction={test}: give shares of 1 that leave something "
            "to train on"
        )
    if segmenting.clap_model is not None:
        from data_prep.clap_tags import load_clap

        assert segmenting.clap_vocabulary is not None
        load_clap(segmenting.clap_model, segmenting.clap_vocabulary, "cpu")
    if segmenting.separator == "demucs":
        load_demucs(segmenting.demucs_model, segmenting.demucs_repo)


def run_all(
    work: "TrackWork", listing: "Listing", table: dict[str, dict], executor: "Executor"
) -> "list[TrackReport]":
    """Work on all tracks, the largest first; the bar tells the speed and the failures so far."""
    from data_prep.digests import DigestJournal
    from data_prep.parts import remove_unfinished
    from data_prep.progress import progress_bar
    from data_prep.tracks import Job, TrackReport
    from data_prep.workers import WorkerDied, one_thread

    reports: list[TrackReport] = []
    n_failed = len(listing.unreadable)
    tracks = sorted(listing.tracks, key=lambda track: (-track.size, track.name))
    remove_unfinished(work.folder)
    with (
        closing(DigestJournal(work.folder / "digests.jsonl", work.library.url)) as journal,
        progress_bar("preparing", sum(track.size for track in tracks)) as bar,
        one_thread(executor.num_workers == 0),
    ):
        jobs = (Job(track, row_of(table, track.name), journal.digest(track)) for track in tracks)
        seconds = 0.0
        for job, report in executor.run(work, jobs):
            if isinstance(report, WorkerDied):
                report = TrackReport(job.track, "failed", str(report))
            journal.note(job.track, report.digest)
            reports.append(report)
            n_failed += report.status == "failed"
            seconds += report.duration
            speed = f"{seconds / 3600:.1f} h, {seconds / bar.seconds:.0f}× real time"
            bar.advance(
                job.track.size, f"{len(reports)}/{len(tracks)} files, {speed}, {n_failed} failed"
            )
    return reports


def row_of(table: dict[str, dict], name: str) -> dict[str, Any]:
    """What the table says of a track, by its path with or without the suffix."""
    row = table.get(name)
    return (table.get(posixpath.splitext(name)[0]) if row is None else row) or {}


def describe(
    listing: "Listing",
    segmenting: "SegmentSettings",
    packing: "PackSettings",
    exclude_tags: Sequence[str],
) -> dict[str, Any]:
    """The part of dataset.json that the tracks do not tell."""
    from data_prep.tracks import audio_recipe

    recipe = {
        **audio_recipe(segmenting), **asdict(packing), "exclude_tags": sorted(exclude_tags),
    }  # fmt: skip
    names = ("sample_rate", "channels", "segment_duration", "separator")
    return {
        **{name: recipe[name] for name in names},
        "chroma": {
            "n_chroma": 12,
            "window": segmenting.chroma_window,
            "hop": segmenting.chroma_hop,
        },
        "codec_identity": None,
        "other_files": listing.others,
        "settings": recipe,
        "settings_hash": settings_hash(recipe),
    }


def settings_hash(settings: dict[str, Any]) -> str:
    """16 hex characters that change with any setting."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def summary(info: dict[str, Any], output_dir: str | Path) -> str:
    """Lines that account for every file and segment."""
    tracks, dropped = info["tracks"], info["dropped_segments"]
    splits = ", ".join(f"{name} {part['samples']}" for name, part in info["splits"].items())
    lines = [
        f"{tracks['files']} files = {tracks['kept']} prepared + {tracks['filtered']} filtered + "
        f"{tracks['failed']} failed (reasons in {output_dir}/failures.jsonl)",
        *(f"  {count} × {phrase}" for phrase, count in info["reasons"].items()),
        f"{info['samples']} segments, {info['hours']:.2f} h ({splits}); dropped "
        f"{dropped['silent']} silent, {dropped['short']} short -> {output_dir}",
    ]
    if info["other_files"]:
        kinds = ", ".join(f"{count} {suffix}" for suffix, count in info["other_files"].items())
        lines.append(f"not looked at, being no audio by their names: {kinds}")
    return "\n".join(lines)


@hydra.main(version_base="1.3", config_path=CONF, config_name="prepare")
@exit_on_user_error
def main(cfg: DictConfig) -> None:
    arguments: Any = OmegaConf.to_container(cfg, resolve=True)
    for name in ("input_dir", "output_dir"):
        if arguments[name] is None:
            raise UserError(f"{name} is missing; give {name}=FOLDER")
    print(summary(prepare(**arguments), cfg.output_dir))


if __name__ == "__main__":
    main()
