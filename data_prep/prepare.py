"""Folder of music -> dataset: python -m data_prep.prepare input_dir=… output_dir=…"""

import functools
import hashlib
import importlib.metadata
import json
import shutil
from collections import Counter
from dataclasses import asdict
from pathlib import Path
from typing import Any

import hydra
from omegaconf import DictConfig, OmegaConf

from musicgen_train.errors import UserError, exit_on_user_error

CONF = str(Path(__file__).resolve().parents[1] / "conf")


def prepare(
    input_dir: str | Path,
    output_dir: str | Path,
    *,
    valid_fraction: float = 0.1,
    test_fraction: float = 0.1,
    seed: int = 0,
    shard_mb: float = 256,
    num_workers: int = 2,
    **segment_settings: Any,
) -> dict[str, Any]:
    """Write a dataset of vocal-free segments with splits disjoint by artist; return dataset.json.

    `segment_settings` are the fields of `data_prep.segmenting.SegmentSettings`.
    """
    from data_prep.folders import new_folder
    from data_prep.library import find_tracks

    tracks = find_tracks(Path(input_dir))
    from data_prep.segmenting import SegmentSettings, prepare_track

    settings = SegmentSettings(**segment_settings)
    check_settings(settings, valid_fraction, test_fraction)
    splitting = {"valid": valid_fraction, "test": test_fraction, "seed": seed, "shard_mb": shard_mb}
    with new_folder(Path(output_dir)) as folder:
        parts = folder / "parts"
        parts.mkdir()
        work = functools.partial(prepare_track, settings=settings, parts=parts)
        reports = run_with_bar(work, tracks, num_workers)
        info = pack(reports, folder, asdict(settings), splitting)
        shutil.rmtree(parts)
    return info


def check_settings(settings: Any, valid_fraction: float, test_fraction: float) -> None:
    """Refuse settings that cannot give a dataset, before any work."""
    from data_prep.separation import SEPARATORS, load_demucs

    if settings.separator not in SEPARATORS:
        raise UserError(
            f"unknown separator {settings.separator!r}; use one of {', '.join(SEPARATORS)}"
        )
    for name in ("sample_rate", "channels", "segment_duration", "chroma_window", "chroma_hop"):
        if getattr(settings, name) <= 0:
            raise UserError(f"{name}={getattr(settings, name)}: give a number above 0")
    if valid_fraction < 0 or test_fraction < 0 or valid_fraction + test_fraction >= 1:
        raise UserError(
            f"valid_fraction={valid_fraction}, test_fraction={test_fraction}: give shares of 1 "
            "that leave something to train on"
        )
    if settings.separator == "demucs":
        load_demucs(settings.demucs_model, settings.demucs_repo)


def run_with_bar(work: Any, tracks: list, num_workers: int) -> list:
    """Run the work over all tracks; the bar counts the failures so far."""
    from data_prep.pool import map_in_order
    from data_prep.progress import progress_bar

    reports = []
    with progress_bar("preparing", len(tracks)) as advance:
        for report in map_in_order(work, tracks, num_workers):
            reports.append(report)
            failed = sum(report.status == "failed" for report in reports)
            advance(f"{failed} failed" if failed else "")
    return reports


def pack(
    reports: list, folder: Path, settings: dict[str, Any], splitting: dict[str, Any]
) -> dict[str, Any]:
    """Join the tracks' parts into shards, give each its split, and account for every file."""
    from data_prep.segmenting import MEMBERS, part_path, read_part
    from data_prep.splits import assign_splits
    from musicgen_train.data.shards import DatasetWriter

    kept = [report for report in reports if report.status == "kept"]
    if not kept:
        first = reports[0]
        raise UserError(
            f"none of {len(reports)} audio files could be used ({first.track.name}: {first.reason})"
        )
    split_of = assign_splits(
        [report.group for report in kept], splitting["valid"], splitting["test"], splitting["seed"]
    )
    writer = DatasetWriter(folder, MEMBERS, int(splitting["shard_mb"] * 2**20))
    for report in kept:
        split = split_of[report.group]
        for key, files in read_part(part_path(folder / "parts", report.track)):
            metadata = json.loads(files["json"]) | {"split": split}
            files["json"] = json.dumps(metadata, ensure_ascii=False).encode()
            writer.write(key, files, split, metadata["duration"])
    write_failures(folder / "failures.jsonl", reports)
    return writer.close(describe(reports, settings, splitting))


def describe(reports: list, settings: dict[str, Any], splitting: dict[str, Any]) -> dict[str, Any]:
    """The part of dataset.json that the shards alone do not tell."""
    statuses = Counter(report.status for report in reports)
    assert sum(statuses.values()) == len(reports) == statuses.total(), statuses
    recipe = {**settings, "splits": splitting}
    for name in ("device", "demucs_repo"):  # where the work is done, not what it gives
        del recipe[name]
    names = ("sample_rate", "channels", "segment_duration", "separator")
    return {
        **{name: settings[name] for name in names},
        "chroma": {
            "n_chroma": 12,
            "window": settings["chroma_window"],
            "hop": settings["chroma_hop"],
        },
        "codec_identity": None,
        "tracks": {
            "files": len(reports),
            **{name: statuses[name] for name in ("kept", "filtered", "failed")},
        },
        "dropped_segments": {
            "silent": sum(report.n_silent for report in reports),
            "short": sum(report.n_short for report in reports),
        },
        "settings": recipe,
        "settings_hash": settings_hash(recipe),
        "versions": {
            name: importlib.metadata.version(name) for name in ("soundfile", "soxr", "torch")
        },
    }


def settings_hash(settings: dict[str, Any]) -> str:
    """16 hex characters that change with any setting."""
    return hashlib.sha256(json.dumps(settings, sort_keys=True).encode()).hexdigest()[:16]


def write_failures(path: Path, reports: list) -> None:
    lines = [
        json.dumps(
            {"file": report.track.name, "status": report.status, "reason": report.reason},
            ensure_ascii=False,
        )
        for report in reports
        if report.status != "kept"
    ]
    path.write_text("".join(line + "\n" for line in lines), encoding="utf-8")


def summary(info: dict[str, Any], output_dir: str | Path) -> str:
    """Two lines that account for every file and segment."""
    tracks, dropped = info["tracks"], info["dropped_segments"]
    splits = ", ".join(f"{name} {part['samples']}" for name, part in info["splits"].items())
    return (
        f"{tracks['files']} files = {tracks['kept']} prepared + {tracks['filtered']} filtered + "
        f"{tracks['failed']} failed (reasons in {output_dir}/failures.jsonl)\n"
        f"{info['samples']} segments, {info['hours']:.2f} h ({splits}); dropped "
        f"{dropped['silent']} silent, {dropped['short']} short -> {output_dir}"
    )


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
