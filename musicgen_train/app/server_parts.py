"""What one running server is made of: models, queue, jobs, and the folders of its visitors."""

import os
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from musicgen_train.app.device_queue import DeviceQueue
from musicgen_train.app.finetunings import Finetunings
from musicgen_train.app.gathered_songs import GatheredSongs
from musicgen_train.app.generations import Generations
from musicgen_train.app.models import ModelShelf
from musicgen_train.app.request import Limits
from musicgen_train.app.server_folder import ServerFolder
from musicgen_train.app.shown_files import ShownFiles
from musicgen_train.app.songs import SongFolder
from musicgen_train.app.takes import TakeStore


@dataclass(frozen=True, kw_only=True)
class Offer:
    """What a server offers, as its command line says; see `ModelShelf` for the first five."""

    checkpoints: Sequence[str] = ("tiny",)
    adapters: Mapping[str, str | None] = field(default_factory=dict)
    device: str | None = None
    weights: str = "float32"
    runs_dir: Path | None = None
    limits: Limits = field(default_factory=Limits)
    finetuning: bool = True  # whether visitors may start and stop fine-tunings


class ServerParts:
    """All of them together; `close` ends the jobs and removes the folders.

    uploads: where Gradio puts what visitors upload, and the one folder that it serves. Takes and
    copies of what is played lie in it too, under names that nobody can guess.
    """

    def __init__(self, offer: Offer, root: Path | None = None) -> None:
        self.offer, self.limits, self.runs_dir = offer, offer.limits, offer.runs_dir
        self.shelf = ModelShelf(
            offer.checkpoints, offer.adapters, offer.device, offer.weights, offer.runs_dir
        )
        self._home = ServerFolder(root or _place())
        self.uploads = self._home.path / "uploads"
        self.uploads.mkdir()
        self._songs = GatheredSongs(self._home.path / "songs", self.uploads, self.limits)
        self.store = TakeStore(self.uploads / "takes", self.limits)
        self.shown = ShownFiles(self.uploads / "shown", self.limits.max_disk_bytes // 4)
        self.queue = DeviceQueue()
        self.generations = Generations(self.shelf, self.queue, self.store, self.limits)
        self.finetunings: Finetunings | None = None
        if offer.finetuning and offer.runs_dir is not None:
            self.finetunings = Finetunings(offer.runs_dir, self.queue, self.shelf, offer.device)

    def songs_of(self, visitor: str) -> SongFolder:
        """Where a visitor gathers songs, until they become a fine-tuning."""
        return self._songs.of(visitor)

    def close(self) -> list[str]:
        """End what belongs to this server; return the names of the fine-tunings that go on."""
        left = self.finetunings.close() if self.finetunings is not None else []
        self.generations.close()
        self.store.close()
        self._home.remove()
        return left


def _place() -> Path:
    """This user's folder among the temporary ones."""
    return Path(tempfile.gettempdir()) / f"musicgen_train-{os.getuid()}"
