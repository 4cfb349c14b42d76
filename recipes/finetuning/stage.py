"""A stage: what it is made from, what it makes, and how."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from recipes.finetuning.base import Base
from recipes.finetuning.estimate import batch_of
from recipes.finetuning.plan import Plan, make_plan
from recipes.finetuning.presets import Device
from recipes.finetuning.run_folder import RunFolder
from recipes.finetuning.settings import Settings
from recipes.finetuning.songs import Songs
from recipes.finetuning.status import Status


@dataclass
class Work:
    """What every stage is given, and what the stages before it told."""

    settings: Settings
    run: RunFolder
    base: Base
    device: Device
    songs: Songs
    separator: str
    workers: int
    expected: Plan  # for the length of the songs as it looks before they are cut
    status: Status
    results: dict[str, dict[str, Any]] = field(default_factory=dict)

    def plan(self) -> Plan:
        """How to train, from the segments that there are."""
        n_segments = self.results["captions"]["train_segments"]
        return make_plan(self.settings, self.base, self.device, n_segments)

    @property
    def generation_batch(self) -> int:
        """Clips that are generated together, always the same ones."""
        return batch_of(self.base, self.device, self.expected.segment_duration)


class Stage(NamedTuple):
    """One step of the way.

    settings: all of its own that changes what it makes. run: returns what later stages depend on.
    Both are plain values for JSON. leftovers: what an interrupted run may leave beside `makes`,
    which is only of use under equal settings.
    """

    name: str
    title: str
    needs: tuple[str, ...]
    makes: tuple[str, ...]  # in the run's folder
    settings: Callable[[Work], dict[str, Any]]
    run: Callable[[Work], dict[str, Any]]
    leftovers: tuple[str, ...] = ()
    keeps: tuple[str, ...] = ()  # what it makes and looks at itself before it makes it again

    def places(self, run: RunFolder) -> list[Path]:
        """What is there when it is done."""
        return [run / name for name in (*self.makes, *self.keeps)]
