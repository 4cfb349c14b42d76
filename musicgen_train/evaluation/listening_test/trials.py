"""The clips that are compared, and the order in which each listener hears them."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import clip_files
from musicgen_train.evaluation.folder_names import shortest_names

LETTERS = "ABCDEFGHIJKL"  # more cannot be held in mind side by side


class Prompt(NamedTuple):
    """What every system made a clip of."""

    name: str
    text: str | None
    melody: Path | None
    clips: dict[str, Path]  # by system


@dataclass
class Matched:
    """The prompts that can be compared, and the names that cannot, by what they lack."""

    prompts: list[Prompt]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def lacking(self, what: str, name: str) -> None:
        """Note that `name` cannot be in the test."""
        self.left_out.setdefault(what, []).append(name)


class Trial(NamedTuple):
    """One page: a prompt with all the systems, in a listener's own order."""

    number: int  # from 1, in the listener's order
    prompt: Prompt
    repeat: int  # 1 if the listener had the same prompt before
    systems: tuple[str, ...]  # the first is called A


@dataclass(frozen=True)
class ListeningTest:
    """Everything that decides what a listener is asked."""

    prompts: tuple[Prompt, ...]
    systems: tuple[str, ...]
    questions: tuple[str, ...]  # keys of QUESTIONS
    seed: int = 0
    repeats: int = 0  # prompts that come a second time, to see how steady a listener is


def system_names(folders: Sequence[Path]) -> list[str]:
    """The shortest ends of the paths that tell the folders apart."""
    places = [folder.absolute() for folder in folders]
    for place, folder in zip(places, folders, strict=True):
        if places.count(place) > 1:
            raise UserError(f"{folder} is there twice; name each folder once")
    return shortest_names(places)


def match_prompts(
    folders: Mapping[str, Path],
    texts: Mapping[str, str] | None = None,
    melodies: Path | None = None,
) -> Matched:
    """Pair the clips of all systems by name; what lacks a clip, text or melody is left out."""
    found = {system: _paths(folder) for system, folder in folders.items()}
    melody_paths = None if melodies is None else _paths(melodies)
    matched = Matched([])
    for name in sorted(set().union(*found.values())):
        absent = [system for system, clips in found.items() if name not in clips]
        if absent:
            matched.lacking(f"no clip in {', '.join(absent)}", name)
        elif texts is not None and name not in texts:
            matched.lacking("no text", name)
        elif melody_paths is not None and name not in melody_paths:
            matched.lacking("no melody", name)
        else:
            clips = {system: paths[name] for system, paths in found.items()}
            text = None if texts is None else texts[name]
            melody = None if melody_paths is None else melody_paths[name]
            matched.prompts.append(Prompt(name, text, melody, clips))
    return matched


def draw_prompts(prompts: Sequence[Prompt], n: int | None, seed: int) -> tuple[Prompt, ...]:
    """At most `n` prompts, the same for every listener, so that listeners can be compared."""
    if n is None or n >= len(prompts):
        return tuple(prompts)
    kept = sorted(random.Random(f"{seed}/prompts").sample(range(len(prompts)), n))
    return tuple(prompts[i] for i in kept)


def plan(test: ListeningTest, listener: str) -> list[Trial]:
    """All trials of a listener: the same for the same seed and name, different for another.

    Repeats come last, as far as can be from the first time.
    """
    rng = random.Random(f"{test.seed}/{listener}")
    firsts = rng.sample(test.prompts, len(test.prompts))
    again = rng.sample(firsts[: test.repeats], min(test.repeats, len(firsts)))
    visits = [(prompt, 0) for prompt in firsts] + [(prompt, 1) for prompt in again]
    trials = []
    for number, (prompt, repeat) in enumerate(visits, 1):
        # A stream of its own, so that a prompt more or less changes no other trial's order.
        own = random.Random(f"{test.seed}/{listener}/{prompt.name}/{repeat}")
        systems = own.sample(test.systems, len(test.systems))
        trials.append(Trial(number, prompt, repeat, tuple(systems)))
    return trials


def _paths(folder: Path) -> dict[str, Path]:
    return {clip.name: clip.path for clip in clip_files(folder)}
