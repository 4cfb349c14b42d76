"""The music that visitors made: files in a bounded folder of this server, gone when it ends."""

import hashlib
import shutil
import threading
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from musicgen_train.app.request import Limits
from musicgen_train.app.server_folder import ServerFolder
from musicgen_train.app.take_files import (
    FORMATS,
    convert,
    draw_spectrogram,
    file_name,
    read_settings,
    write_music,
)
from musicgen_train.arguments import shown
from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

__all__ = ["Format", "Take", "TakeStore", "read_settings"]

Format = Literal["wav", "flac", "mp3"]


@dataclass(frozen=True)
class Take:
    """One piece of music: its files lie in `folder`."""

    id: str
    title: str  # its text and seed, to be shown
    folder: Path
    settings: dict[str, Any]  # of `Request.as_settings`, with this variant's own seed
    duration: float  # seconds
    created: float  # seconds since 1970

    @property
    def wav(self) -> Path:
        """The music, 16 bits, levelled, with the settings embedded."""
        name = file_name(str(self.settings.get("text", "")), int(self.settings.get("seed", 0)))
        return self.folder / f"{name}.wav"

    @property
    def spectrogram(self) -> Path:
        """Its picture, a PNG."""
        return self.folder / "spectrogram.png"


class TakeStore:
    """Takes of all visitors, each seen by its own visitor alone; safe to use from any thread.

    root: where this server's folder is made, which `close` removes; the folders of servers that
    were killed are removed at once. visitor: any token; it becomes no file's name.
    """

    def __init__(self, root: Path, limits: Limits) -> None:
        self.limits = limits
        self._home = ServerFolder(root)
        self._lock = threading.RLock()
        self._drawing = threading.Lock()  # one picture at a time: matplotlib's fonts are shared
        self._takes: dict[str, tuple[str, Take]] = {}  # by id, the oldest first, with whose it is
        self._bytes: dict[str, int] = {}

    def add(
        self, visitor: str, wav: "Tensor", sample_rate: int, settings: Mapping[str, Any]
    ) -> Take:
        """Level and write a wav [C, N], with picture and settings; the oldest takes make room."""
        id = uuid.uuid4().hex
        title = _title(str(settings.get("text", "")), settings.get("seed", 0))
        folder, duration = self._home.path / id, wav.shape[1] / sample_rate
        take = Take(id, title, folder, dict(settings), duration, time.time())
        try:
            self._write(take, wav, sample_rate)
        except BaseException:
            shutil.rmtree(folder, ignore_errors=True)
            raise
        with self._lock:
            self._takes[id] = (_key(visitor), take)
            self._bytes[id] = _size(folder)
            self._make_room(_key(visitor), kept=id)
        return take

    def of(self, visitor: str) -> list[Take]:
        """A visitor's takes, the newest first."""
        with self._lock:
            return [take for key, take in reversed(self._takes.values()) if key == _key(visitor)]

    def get(self, visitor: str, id: str) -> Take:
        """One of a visitor's takes; `UserError` if it is another's, or gone."""
        with self._lock:
            key, take = self._takes.get(id, ("", None)) if isinstance(id, str) else ("", None)
        if take is None or key != _key(visitor):
            raise UserError("this take is gone: generate it again")
        return take

    def remove(self, visitor: str, id: str) -> None:
        """Forget a take and its files."""
        with self._lock:
            self._drop(self.get(visitor, id).id)

    def download(self, take: Take, format: Format) -> Path:
        """A file of the take with its settings as comment, named by its text and seed."""
        if format not in FORMATS:
            raise UserError(f"format {shown(format)}: choose {', '.join(FORMATS)}")
        path = take.wav.with_suffix(f".{format}")
        with self._lock:  # so that nobody removes what is being read, or writes it twice
            if take.id not in self._takes:
                raise UserError("this take is gone: generate it again")
            if not path.is_file():
                convert(take.wav, format, take.settings)
                self._bytes[take.id] = _size(take.folder)
                self._make_room(self._takes[take.id][0], kept=take.id)
        return path

    def close(self) -> None:
        """Remove the folder with everything in it."""
        with self._lock:
            self._takes.clear()
            self._bytes.clear()
            self._home.remove()

    def _write(self, take: Take, wav: "Tensor", sample_rate: int) -> None:
        from musicgen_train.formats.files import write_json
        from musicgen_train.whole_files import writing

        with writing("the music"):
            take.folder.mkdir()  # without parents: after `close` nothing may appear again
            write_music(take.wav, wav, sample_rate, take.settings)
            write_json(take.settings, take.folder / "settings.json")
            with self._drawing:
                draw_spectrogram(take.spectrogram, wav, sample_rate)

    def _make_room(self, key: str, kept: str) -> None:
        """Remove the oldest takes: of this visitor if they are too many, of all if too large."""
        own = [id for id, (whose, _) in self._takes.items() if whose == key]
        for id in own[: max(0, len(own) - self.limits.max_takes)]:
            self._drop(id)
        for id in list(self._takes):
            if sum(self._bytes.values()) <= self.limits.max_disk_bytes:
                break
            if id != kept:
                self._drop(id)

    def _drop(self, id: str) -> None:
        _, take = self._takes.pop(id)
        self._bytes.pop(id)
        shutil.rmtree(take.folder, ignore_errors=True)


def _key(visitor: str) -> str:
    """A visitor's token as it is kept in memory: of any token the same size."""
    return hashlib.sha256(str(visitor).encode("utf-8", "replace")).hexdigest()


def _title(text: str, seed: object) -> str:
    line = " ".join(text.split())
    line = line if len(line) <= 60 else f"{line[:59]}…"
    return f"{line or 'free'} · seed {seed}"


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir())
