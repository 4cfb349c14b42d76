"""What is compared with what in an evaluation."""

from __future__ import annotations

import itertools
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from torch import Tensor

from musicgen_train.evaluation.heard_set import HeardSet

SHUFFLED_LIMIT = 5000  # pairs; more would not make their mean surer


class Prompt(NamedTuple):
    """What the clips of one name have in common."""

    text: str = ""
    track: str = ""  # clips of one track resemble each other; "" where none is known
    chroma: Tensor | None = None  # [F, 12] of the melody that was asked for
    wanted: Mapping[str, str | None] = {}  # instrument and genre by its metadata
    origin: str = ""  # the segment or file that it comes from


class System(NamedTuple):
    """A source of clips that is measured."""

    name: str  # suffix of its metrics: "text", "melody", "round_trip"; "" if it is the only one
    title: str  # "generated from text"
    heard: HeardSet
    with_melody: bool = False


@dataclass
class Comparison:
    """Systems beside real music; clips of one name in different sets belong together."""

    systems: list[System]
    reference: HeardSet  # the real music whose distribution counts
    pairs: HeardSet  # the real clip of each name
    floor: HeardSet | None = None  # more real music; else halves of the reference serve
    ceiling: HeardSet | None = None  # what an untrained model made
    prompts: dict[str, Prompt] = field(default_factory=dict)
    round_trip: HeardSet | None = None  # the real clip of each name through the codec

    def prompt(self, name: str) -> Prompt:
        """What is known of the clips of a name."""
        return self.prompts.get(name, Prompt())

    def track(self, name: str) -> str:
        """The track of a clip; a clip of unknown origin is one of its own."""
        return self.prompt(name).track or name

    def common(self, *sets: HeardSet) -> tuple[list[str], list[str]]:
        """Names that every set has, and those that some set lacks."""
        known = [set(heard.names) for heard in sets]
        every, some = set.intersection(*known), set.union(*known)
        return sorted(every), sorted(some - every)

    def shuffled(self, names: Sequence[str]) -> list[tuple[str, str]]:
        """Pairs of names of different tracks: all of them, or as many as tell their mean.

        The draw is fixed, so that every system meets the same pairs.
        """
        drawn = itertools.product(names, repeat=2)
        if len(names) ** 2 > SHUFFLED_LIMIT:
            rng = random.Random(0)
            drawn = ((rng.choice(names), rng.choice(names)) for _ in range(SHUFFLED_LIMIT))
        return [(a, b) for a, b in drawn if self.track(a) != self.track(b)]
