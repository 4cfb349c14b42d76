"""What a fine-tuning has made so far: losses, samples, and what is taken away."""

import csv
import io
import os
import re
import shutil
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from musicgen_train.app.untrusted_files import (
    as_list,
    as_mapping,
    as_number,
    as_text,
    as_whole,
    read_object,
    read_text,
    regular_file,
)
from musicgen_train.errors import UserError

Packed = Literal["adapter", "model", "transformers", "report"]
_POINTS = 500  # of a loss curve
_MOST_LOGS = 50
_CLIP_BYTES = 2**26
_MOST_CLIPS = 400
_SPARE = 5e8  # bytes of the disk that a download leaves


@dataclass(frozen=True)
class SamplePair:
    """One text with one seed, by the base and by the fine-tuned model; None: not there (yet)."""

    kind: str  # style: a caption of the songs; general: what the base could do before
    text: str
    seed: int
    before: Path | None
    after: Path | None
    song: str = ""  # whose caption it is
    original: Path | None = None  # a segment of that song


@dataclass(frozen=True)
class TrainingSample:
    """What the model made of a text while it was trained."""

    step: int
    text: str
    audio: Path


@dataclass(frozen=True)
class RunResult:
    """What is there to be taken away; the label is that of the `ModelShelf`."""

    label: str  # of the model, and of the adapter
    model: Path | None
    adapter: Path | None
    transformers: Path | None
    report: Path | None  # index.html, with its sounds beside it


def read_losses(folder: Path, which: Literal["train", "valid"]) -> list[tuple[int, float]]:
    """(step, cross entropy): where a resumed training repeats steps, its later log counts."""
    points: dict[int, float] = {}
    for version in _numbered(folder / "training/logs", "version_")[-_MOST_LOGS:]:
        text = read_text(folder, "training/logs", f"version_{version}", "metrics.csv")
        points |= _column(text or "", f"{which}/ce")
    found = sorted(points.items())
    every = -(-len(found) // _POINTS) or 1
    thinned = found[::every]
    return thinned if thinned[-1:] == found[-1:] else [*thinned[: _POINTS - 1], found[-1]]


def read_samples(folder: Path) -> list[SamplePair]:
    """Clips before and after; those of an earlier training than the present one are left out."""
    before = read_object(folder, "samples/before/request.json")
    after = read_object(folder, "samples/after/request.json")
    trained = read_object(folder, "stages/train.json")
    model = as_mapping(trained.get("result")).get("model") if trained.get("finished") else None
    prompts = as_list(before.get("prompts"), _MOST_CLIPS)
    holds = model is not None and model == after.get("model")
    holds = holds and prompts == as_list(after.get("prompts"), _MOST_CLIPS)
    return [_pair(folder, as_mapping(prompt), holds) for prompt in prompts]


def read_training_samples(folder: Path) -> list[TrainingSample]:
    """Clips that were made during the training, the newest step first."""
    place = "training/samples"
    texts = as_list(read_object(folder, "training_texts.json").get("texts"), 20)
    found = []
    for step in reversed(_numbered(folder / place, "step_")[-100:]):
        for i, text in enumerate(texts):
            clip = regular_file(folder, place, f"step_{step}", f"prompt_{i}.flac", most=_CLIP_BYTES)
            if clip is not None:
                found.append(TrainingSample(step, as_text(text), clip))
    return found


def read_result(folder: Path) -> RunResult:
    """The results that are there."""

    def whole(name: str, file: str) -> Path | None:
        return folder / name if regular_file(folder, name, file) else None

    return RunResult(
        label=f"{folder.parent.resolve().name}/{folder.name}",
        model=whole("model", "config.json"),
        adapter=whole("adapter", "adapter.json"),
        transformers=whole("transformers", "config.json"),
        report=regular_file(folder, "report", "index.html"),
    )


def pack(folder: Path, what: Packed, target: Path) -> Path:
    """A zip of one of the results in the folder `target`; links in it are left out."""
    result = read_result(folder)
    source = getattr(result, what)
    if source is None:
        raise UserError(f"{folder.name} has no {what} (yet): wait until the fine-tuning is done")
    source = source.parent if what == "report" else source
    files = [path for path in sorted(source.rglob("*")) if _is_inside(path, source)]
    size = sum(path.stat().st_size for path in files)
    path = target / f"{folder.name}-{what}.zip"
    try:
        target.mkdir(parents=True, exist_ok=True)
        if shutil.disk_usage(target).free < size + _SPARE:
            raise UserError(
                f"the server has no room for a zip of {size / 1e9:.1f} GB: tell who runs it"
            )
        _zip(files, source, path)
    except OSError as error:
        raise UserError(
            f"{path.name}: cannot be made ({error.strerror or error}); try again"
        ) from None
    return path


def _zip(files: list[Path], source: Path, path: Path) -> None:
    """Write the zip, which holds what compresses no further, under its name when it is whole."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        with zipfile.ZipFile(partial, "w", zipfile.ZIP_STORED) as archive:
            for file in files:
                archive.write(file, f"{path.stem}/{file.relative_to(source).as_posix()}")
        os.replace(partial, path)
    finally:
        partial.unlink(missing_ok=True)


def _is_inside(path: Path, folder: Path) -> bool:
    return regular_file(folder, path.relative_to(folder).as_posix()) is not None and (
        not path.is_symlink()
    )


def _pair(folder: Path, prompt: Mapping[str, Any], after_holds: bool) -> SamplePair:
    key, segment = as_text(prompt.get("key"), 200), as_text(prompt.get("segment"), 300)

    def clip(*place: str) -> Path | None:
        return regular_file(folder, *place, most=_CLIP_BYTES) if key else None

    songs = [clip("evaluation/songs", kind, f"{segment}.flac") for kind in ("held_out", "train")]
    return SamplePair(
        kind=as_text(prompt.get("kind"), 20),
        text=as_text(prompt.get("text"), 2000),
        seed=as_whole(prompt.get("seed")) or 0,
        before=clip("samples/before", f"{key}.flac"),
        after=clip("samples/after", f"{key}.flac") if after_holds else None,
        song=as_text(prompt.get("song"), 300),
        original=next((song for song in songs if segment and song), None),
    )


def _numbered(folder: Path, prefix: str) -> list[int]:
    """The numbers of folders such as version_3, in order."""
    try:
        names = os.listdir(folder)
    except OSError:
        return []
    matches = (re.fullmatch(rf"{prefix}([0-9]{{1,9}})", name) for name in names)
    return sorted(int(match[1]) for match in matches if match)


def _column(text: str, name: str) -> dict[int, float]:
    """{step: value} of a log, of which the last line may be half written."""
    found: dict[int, float] = {}
    try:
        for row in csv.DictReader(io.StringIO(text)):
            step, value = _parsed(row.get("step")), _parsed(row.get(name))
            if step is not None and value is not None:
                found[int(step)] = value
    except csv.Error:
        pass
    return found


def _parsed(text: object) -> float | None:
    try:
        return as_number(float(text)) if isinstance(text, str) else None
    except ValueError:
        return None
