"""What embedders heard in audio files, kept by the content of the file and the embedder."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save
from torch import Tensor

from musicgen_train.evaluation.embedders.embedder import Embedder
from musicgen_train.whole_files import replacing, writing

FORMAT = "musicgen_train heard 1"


class Heard(NamedTuple):
    """What one embedder heard in one file, or why it could not be read."""

    arrays: dict[str, np.ndarray]  # windows first
    unreadable: str = ""


class HeardCache:
    """Small files, each written whole, so that a kill costs one clip and ranks share the work.

    The name of a file is a hash of the audio file's bytes under the embedder's identity: clips
    that change, other weights or another front end are never taken for what was heard before.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def place(self, embedder: Embedder, digest: str) -> Path:
        """Where a clip's file is, or will be."""
        kept = f"{embedder.name}-{embedder.identity()[:16]}"
        return self.folder / kept / digest[:2] / f"{digest}.safetensors"

    def read(self, embedder: Embedder, digest: str) -> Heard | None:
        """What was heard; None if nothing was, or the file is damaged."""
        path = self.place(embedder, digest)
        if not path.is_file():
            return None
        try:
            with safe_open(str(path), "np") as file:
                metadata = file.metadata() or {}
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, OSError):
            return None
        if metadata.get("format") != FORMAT:
            return None
        return Heard(arrays, metadata.get("unreadable", ""))

    def write(self, embedder: Embedder, digest: str, heard: dict[str, Tensor]) -> None:
        """Keep the arrays of a clip."""
        arrays = {name: np.ascontiguousarray(values.numpy()) for name, values in heard.items()}
        self._save(embedder, digest, arrays, "")

    def write_unreadable(self, embedder: Embedder, digest: str, reason: str) -> None:
        """Keep why these bytes are no audio."""
        self._save(embedder, digest, {}, reason)

    def _save(
        self, embedder: Embedder, digest: str, arrays: dict[str, np.ndarray], reason: str
    ) -> None:
        path = self.place(embedder, digest)
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            with replacing(path) as partial:
                partial.write_bytes(save(arrays, {"format": FORMAT, "unreadable": reason}))
