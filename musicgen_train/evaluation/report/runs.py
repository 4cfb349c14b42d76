"""Finished evaluations that are put side by side."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.errors import UserError
from musicgen_train.evaluation.folder_names import shortest_names
from musicgen_train.evaluation.measurement import Measurement
from musicgen_train.evaluation.report.results import measurements, read_results


class Prompt(NamedTuple):
    """What makes clips of two runs answers to the same question."""

    segment: str
    text: str
    reference: tuple[tuple[str, float | None], ...]  # facts of the real clip, () if there is none


class Run:
    """One evaluation under the name that its column has.

    Clips of a codec are known by their files, for they are numbered by how bad they are.
    results: what metrics.json in the folder holds, if it has been read already.
    """

    def __init__(self, name: str, folder: Path, results: Mapping[str, Any] | None = None) -> None:
        self.name, self.folder = name, folder
        self.results: Mapping[str, Any] = read_results(folder) if results is None else results
        self.rows: dict[str, Measurement] = {row.name: row for row in measurements(self.results)}
        self.files: dict[str, Mapping[str, Any]] = {
            row["name"]: row for row in self.results.get("files", ())
        }
        by = "segment" if self.files else "key"
        self.clips: dict[str, Mapping[str, Any]] = {c[by]: c for c in self.results["clips"]}

    @cached_property
    def prompts(self) -> dict[str, Prompt]:
        """Of every clip that was measured, by key."""
        if self.files:
            return {name: Prompt(name, "", ()) for name in self.files}
        return {
            key: Prompt(
                clip.get("segment") or key,
                clip["description"],
                tuple(sorted(clip.get("facts", {}).get("reference", {}).items())),
            )
            for key, clip in self.clips.items()
        }

    def scores(self, metric: str) -> dict[str, float]:
        """A metric's value of every clip that has one."""
        family, _, field = metric.partition(".")
        if self.files and family == "codec":
            found = {name: row.get(field) for name, row in self.files.items()}
        else:
            found = {key: clip.get("scores", {}).get(metric) for key, clip in self.clips.items()}
        return {key: value for key, value in found.items() if isinstance(value, int | float)}

    def track(self, key: str) -> str:
        """What a clip is a part of; a clip of unknown origin is one of its own."""
        known = self.files.get(key) or self.clips.get(key, {})
        return known.get("track") or key


def read_runs(folders: Sequence[Path], names: Sequence[str] | None = None) -> list[Run]:
    """The evaluations in some folders; UserError says what keeps them from being compared."""
    if len(folders) < 2:
        raise UserError("one run alone cannot be compared; give two folders or more")
    places = [folder.resolve() for folder in folders]
    for number, place in enumerate(places):
        if place in places[:number]:
            raise UserError(f"{folders[number]} is given twice; give each run once")
    names = shortest_names(places) if names is None else _checked(names, folders)
    runs = [Run(name, folder) for name, folder in zip(names, folders, strict=True)]
    common = set.intersection(*(set(run.rows) for run in runs))
    if not common:
        told = "; ".join(f"{run.name} has {', '.join(sorted(run.rows)[:3])} …" for run in runs)
        raise UserError(f"these runs have no metric in common ({told}); evaluate them alike")
    return runs


def same_prompts(first: Run, second: Run) -> list[str]:
    """Keys under which both runs answer the same text for the same real clip."""
    return [key for key, prompt in first.prompts.items() if second.prompts.get(key) == prompt]


def _checked(names: Sequence[str], folders: Sequence[Path]) -> Sequence[str]:
    if len(names) != len(folders) or len(set(names)) < len(names) or not all(names):
        raise UserError(
            f"--names {','.join(names)}: give {len(folders)} different names, one for each run"
        )
    return names
