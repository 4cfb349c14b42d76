"""Writing the corpus: tracks, stems and sidecars, in worker processes, with resumption."""

import json
import os
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import asdict, dataclass
from functools import cache
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.demo.compose import compose
from data_prep.demo.describe import describe, keywords
from data_prep.demo.mix import mix_stems
from data_prep.demo.plan import Plan, plan_track
from data_prep.demo.sampler import SAMPLE_RATE, Sampler
from data_prep.demo.soundfont import SoundFont, find_soundfont
from data_prep.demo.styles import STYLES
from musicgen_train.errors import UserError

SETTINGS_FILE = "corpus.json"
COMPOSER_VERSION = 8  # raise it whenever the same seed would sound different


@dataclass(frozen=True)
class Settings:
    """What decides the bytes of a track, apart from its index."""

    seed: int
    min_duration: float
    max_duration: float
    composer: int = COMPOSER_VERSION
    styles: tuple[str, ...] = tuple(STYLES)

    def plan(self, index: int) -> Plan:
        """The facts of track `index`."""
        return plan_track(self.seed, index, self.styles)

    def record(self) -> dict[str, Any]:
        """What the corpus says of itself; the styles only where they are not the usual ones."""
        content = asdict(self)
        styles = sorted(content.pop("styles"))
        return content if styles == sorted(STYLES) else {**content, "styles": styles}


def write_atomically(path: Path, data: bytes) -> None:
    """All or nothing."""
    temporary = path.with_name(path.name + ".tmp")
    temporary.write_bytes(data)
    os.replace(temporary, path)


def write_json(path: Path, content: dict) -> None:
    """Sorted keys, so that equal content has equal bytes."""
    write_atomically(path, (json.dumps(content, indent=2, sort_keys=True) + "\n").encode())


def write_flac(path: Path, wav: np.ndarray) -> None:
    """int16 [N, 2] at SAMPLE_RATE."""
    import soundfile

    temporary = path.with_name(path.name + ".tmp")
    soundfile.write(
        temporary, wav, SAMPLE_RATE, format="FLAC", subtype="PCM_16", compression_level=0.0
    )
    os.replace(temporary, path)


def sidecar(plan: Plan, duration: float, stems: dict[str, str]) -> dict:
    """The description of a track."""
    return {
        "title": plan.title,
        "artist": plan.artist,
        "description": describe(plan),
        "genre": plan.style.name,
        "moods": list(plan.moods),
        "instrument": plan.lead,
        "keywords": keywords(plan),
        "bpm": plan.bpm,
        "key": plan.key.label,
        "duration": round(duration, 6),
        "stems": stems,
        "seed": plan.seed,
    }


def write_track(output_dir: Path, settings: Settings, index: int, sampler: Sampler) -> float:
    """Compose, render and write one track, the sidecar last; returns its duration in seconds."""
    plan = settings.plan(index)
    piece = compose(plan, (settings.min_duration, settings.max_duration))
    mix, stems = mix_stems(piece, sampler, f"{settings.seed}/{index}/voice", plan.style.reverb_time)
    folder = output_dir / plan.folder
    stem_folder = folder / f"{plan.stem_name}.stems"
    stem_folder.mkdir(parents=True, exist_ok=True)
    paths = {}
    for name, wav in stems.items():
        write_flac(stem_folder / f"{name}.flac", wav)
        paths[name] = f"{stem_folder.name}/{name}.flac"
    write_flac(folder / f"{plan.stem_name}.flac", mix)
    write_json(folder / f"{plan.stem_name}.json", sidecar(plan, len(mix) / SAMPLE_RATE, paths))
    return len(mix) / SAMPLE_RATE


def is_complete(output_dir: Path, settings: Settings, index: int) -> bool:
    """Whether a track's sidecar (written last) and the files that it names are there."""
    plan = settings.plan(index)
    folder = output_dir / plan.folder
    path = folder / f"{plan.stem_name}.json"
    if not path.is_file():
        return False
    stems = json.loads(path.read_text())["stems"].values()
    return path.with_suffix(".flac").is_file() and all((folder / stem).is_file() for stem in stems)


def claim_folder(output_dir: Path, settings: Settings) -> None:
    """Make the folder ours, or refuse one that holds something else."""
    if output_dir.exists() and not output_dir.is_dir():
        raise UserError(f"output_dir={output_dir} is a file: choose a folder")
    path = output_dir / SETTINGS_FILE
    if path.is_file():
        found = {"styles": sorted(STYLES), **json.loads(path.read_text())}
        wanted = {"styles": sorted(STYLES), **settings.record()}
        changed = [f"{k}={found.get(k)}" for k, v in wanted.items() if found.get(k) != v]
        if changed:
            made = ", ".join(changed)
            raise UserError(f"{output_dir} was made with {made}: use these or another output_dir")
    elif output_dir.is_dir() and any(output_dir.iterdir()):
        raise UserError(
            f"{output_dir} is not empty and is no demo corpus: choose another output_dir"
        )
    else:
        output_dir.mkdir(parents=True, exist_ok=True)
        write_json(path, settings.record())


@cache
def worker_sampler() -> Sampler:
    """The sampler of this process."""
    return Sampler(SoundFont(find_soundfont()))


def work(output_dir: Path, settings: Settings, index: int) -> float:
    """One track in a worker process."""
    return write_track(output_dir, settings, index, worker_sampler())


def write_tracks(
    output_dir: Path, settings: Settings, indices: list[int], n_workers: int
) -> Iterator[float]:
    """Write tracks in processes, in this one if one is enough; yields durations (seconds)."""
    n_workers = min(n_workers, len(indices))
    if n_workers <= 1:
        yield from (work(output_dir, settings, index) for index in indices)
        return
    with ProcessPoolExecutor(n_workers, get_context("spawn")) as pool:
        jobs = [pool.submit(work, output_dir, settings, index) for index in indices]
        try:
            for job in as_completed(jobs):
                yield job.result()
        finally:
            pool.shutdown(cancel_futures=True)


def write_corpus(output_dir: Path, settings: Settings, n_tracks: int, n_workers: int = 2) -> float:
    """Write the missing ones of `n_tracks` tracks; returns the seconds of music written."""
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    claim_folder(output_dir, settings)
    missing = [i for i in range(n_tracks) if not is_complete(output_dir, settings, i)]
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
    )
    seconds = 0.0
    with Progress(*columns) as progress:
        task = progress.add_task("composing", total=n_tracks, completed=n_tracks - len(missing))
        for duration in write_tracks(output_dir, settings, missing, n_workers):
            seconds += duration
            progress.advance(task)
    return seconds
