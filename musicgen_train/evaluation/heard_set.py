"""A set of clips and what every embedder heard in it, read from disk when it is asked for."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

import numpy as np

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import ClipFaults, ClipFile
from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.evaluation.embedders.facts import ClipFacts, FactsEmbedder
from musicgen_train.evaluation.embedders.identity import sha256_of
from musicgen_train.evaluation.heard_cache import HeardCache
from musicgen_train.evaluation.metrics.clip_vectors import ClipVectors
from musicgen_train.whole_files import writing

FACTS = FactsEmbedder()


class Vectors(NamedTuple):
    """The windows of all clips of a set in one array, mapped from disk."""

    clips: ClipVectors
    tracks: ClipVectors  # the same vectors, those of one track as if it were one clip
    names: list[str]  # of the clips, in their order; those without a window are not among them
    without: list[str]  # clips that gave no window


class HeardSet:
    """Clips that were heard, in order. Memory holds their names and digests, nothing else."""

    def __init__(self, title: str, files: Sequence[ClipFile], cache: HeardCache) -> None:
        self.title = title
        self.cache = cache
        self.unreadable: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._paths = {file.name: file.path for file in files}
        self._tracks = {file.name: file.track or file.name for file in files}
        for file in files:
            self._add(file)
        if not self._digests:
            reason = next(iter(self.unreadable.values()), "it is empty")
            raise UserError(f"{title}: none of {len(files)} clips can be read ({reason})")

    def _add(self, file: ClipFile) -> None:
        try:
            digest = sha256_of(file.path)
        except OSError as error:
            self.unreadable[file.name] = f"cannot be opened ({error.strerror})"
            return
        heard = self.cache.read(FACTS, digest)
        if heard is None:
            raise UserError(
                f"{file.path} was not heard: either it changed meanwhile, then evaluate again, or "
                f"cache_dir={self.cache.folder} is not on a file system that all processes see"
            )
        if heard.unreadable:
            self.unreadable[file.name] = heard.unreadable
            return
        self._digests[file.name] = digest

    @property
    def names(self) -> list[str]:
        """Of the clips that can be read."""
        return list(self._digests)

    def __contains__(self, name: str) -> bool:
        return name in self._digests

    def path(self, name: str) -> Path:
        """The file of one clip."""
        return self._paths[name]

    def track(self, name: str) -> str:
        """The track of one clip; a clip of unknown origin is one of its own."""
        return self._tracks[name]

    def arrays(self, embedder: Embedder, name: str) -> dict[str, np.ndarray]:
        """What an embedder heard in one clip."""
        heard = self.cache.read(embedder, self._digests[name])
        if heard is None:
            raise UserError(
                f"{self.cache.folder} lost what {embedder.name} heard in {name}; evaluate again"
            )
        return heard.arrays

    def facts(self, name: str) -> ClipFacts:
        """Length, rate and level of one clip."""
        return ClipFacts(*map(float, self.arrays(FACTS, name)["facts"][0]))

    @cached_property
    def faults(self) -> ClipFaults:
        """What is wrong with which clips."""
        faults = ClipFaults(unreadable=dict(self.unreadable))
        for name in self.names:
            faults.add(name, self.facts(name))
        return faults

    def vectors(self, embedder: Embedder, folder: Path) -> Vectors:
        """Every window of every clip, written to a file in `folder` and mapped into memory."""
        lengths, names, without, dim = [], [], [], 0
        by_track: dict[str, int] = {}
        path = folder / f"{embedder.name}-{len(list(folder.iterdir()))}.f32"
        with writing(path), path.open("wb") as file:
            for name in sorted(self.names, key=self._first_of_track):
                values = self.arrays(embedder, name)["vectors"]
                if not len(values):
                    without.append(name)
                    continue
                file.write(np.ascontiguousarray(values, np.float32).tobytes())
                lengths.append(len(values))
                names.append(name)
                track = self._tracks[name]
                by_track[track] = by_track.get(track, 0) + len(values)
                dim = values.shape[1]
        if not names:
            raise UserError(
                f"{self.title}: {embedder.name} heard nothing, for all {len(without)} clips are "
                "shorter than one of its windows; give longer clips"
            )
        values = np.memmap(path, np.float32, "r", shape=(sum(lengths), dim))
        clips, tracks = ClipVectors(values, lengths), ClipVectors(values, [*by_track.values()])
        return Vectors(clips, tracks, names, without)

    @cached_property
    def _first_of_track(self) -> Callable[[str], int]:
        """The place of the first clip of a clip's track: sorted by it, tracks stand together."""
        first: dict[str, int] = {}
        for place, name in enumerate(self.names):
            first.setdefault(self._tracks[name], place)
        return lambda name: first[self._tracks[name]]
