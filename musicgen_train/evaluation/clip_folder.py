"""The clips of an evaluation on disk, and whose they are."""

from __future__ import annotations

import hashlib
import json
import zipfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.evaluation.clips import Clip, ClipFile, write_clip
from musicgen_train.evaluation.ranks import Ranks
from musicgen_train.formats.files import brief, read_json
from musicgen_train.whole_files import replacing, writing

FORMAT = 2  # of the figures; to be raised when they change


class ClipFolder:
    """`audio/KIND/NAME.flac`, and in `work` the figures of each batch, written after its clips.

    So a batch with figures is whole, and an evaluation that was killed makes the others only.
    """

    def __init__(self, root: Path) -> None:
        self.root = root
        self.work = root / "work"

    def open(self, request: Mapping[str, Any], ranks: Ranks) -> None:
        """Begin, or go on with, the evaluation of `request`; another one's clips are not touched.

        request: all that decides how the clips sound, as plain values. One process does it, and
        the others make sure that they see the same folder.
        """
        if ranks.first:
            self._open(request)
        ranks.wait()
        if not (self.root / "request.json").is_file():
            raise UserError(
                f"output_dir={self.root} is not on a file system that all processes see; name "
                "one that is"
            )

    def _open(self, request: Mapping[str, Any]) -> None:
        with writing(self.work):
            self.work.mkdir(parents=True, exist_ok=True)
        for left in (*self.work.glob(".*.tmp"), *self.root.glob("audio/**/.*.tmp")):
            left.unlink()  # of a run that was killed
        self.check(request)
        place = self.root / "request.json"
        with writing(place), replacing(place) as partial:
            partial.write_text(json.dumps(_plain(request), indent=1))

    def check(self, request: Mapping[str, Any]) -> None:
        """Refuse a folder that holds another evaluation than that of `request`; nothing is made."""
        place, asked = self.root / "request.json", _plain(request)
        if not place.is_file():
            return
        found = read_json(place)
        found = found if isinstance(found, dict) else {}
        if others := [name for name in asked if found.get(name) != asked[name]]:
            raise UserError(
                f"{self.root} holds another evaluation ("
                + ", ".join(f"{n}: {brief(found.get(n))}, now {brief(asked[n])}" for n in others)
                + "); take another output_dir, or delete that one"
            )

    def place(self, kind: str, name: str) -> Path:
        """Where a clip is, or will be."""
        return self.root / "audio" / kind / f"{name}.flac"

    def files(self, kind: str, names: Sequence[str]) -> list[ClipFile]:
        """The clips of a kind."""
        return [ClipFile(name, self.place(kind, name)) for name in names]

    def has(self, kind: str, names: Sequence[str]) -> bool:
        """Whether a batch is whole: its figures and all its clips."""
        try:
            sizes = self.figures(kind, names)["sizes"].tolist()
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile):
            return False
        places = [self.place(kind, name) for name in names]
        return sizes == [place.stat().st_size if place.is_file() else None for place in places]

    def write(
        self,
        kind: str,
        names: Sequence[str],
        wavs: Tensor,
        sample_rate: int,
        figures: Mapping[str, np.ndarray],
    ) -> None:
        """Write a batch of clips [n, C, N], and then its figures.

        Samples that are not finite become 0 in the files, so figures tell which clips had some.
        """
        broken = ~torch.isfinite(wavs).all(-1).all(-1)
        for name, wav in zip(names, wavs, strict=True):
            write_clip(self.place(kind, name), Clip(name, wav, sample_rate))
        place = self._figures(kind, names)
        with writing(place), replacing(place) as partial, partial.open("wb") as file:
            sizes = [self.place(kind, name).stat().st_size for name in names]
            common = {"non_finite": broken.numpy(), "sizes": np.array(sizes)}
            np.savez(file, allow_pickle=False, **common, **figures)

    def figures(self, kind: str, names: Sequence[str]) -> dict[str, np.ndarray]:
        """The figures of a batch."""
        with np.load(self._figures(kind, names), allow_pickle=False) as stored:
            return dict(stored)

    def non_finite(self, kind: str, batches: Sequence[Sequence[str]]) -> list[str]:
        """Clips of which not every sample was a finite number."""
        return [
            name
            for names in batches
            for name, broken in zip(names, self.figures(kind, names)["non_finite"], strict=True)
            if broken
        ]

    def _figures(self, kind: str, names: Sequence[str]) -> Path:
        # A name may be longer than a file's, or hold a slash.
        return self.work / f"{kind}-{hashlib.sha256(names[0].encode()).hexdigest()[:16]}.npz"


def _plain(request: Mapping[str, Any]) -> dict[str, Any]:
    """A request as it is read back."""
    return json.loads(json.dumps({"format": FORMAT, **request}))
