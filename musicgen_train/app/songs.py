"""The songs that a visitor drops for a fine-tuning: copies, checked and safely named."""

import os
import secrets
import shutil
import threading
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from musicgen_train.app.request import Limits
from musicgen_train.app.sounds import display_name as shown_name
from musicgen_train.app.sounds import uploaded_file
from musicgen_train.errors import UserError

_KINDS = "mp3, m4a, aac, flac, ogg, opus, wav or aiff"
_LONGEST_STEM = 150  # bytes; file systems allow 255, and the preparation adds to it
_SPARE = 1e9  # bytes of the disk that stay free
_GROWTH = 4  # a song's segments, codes and clips beside it


@dataclass(frozen=True)
class Song:
    """A song of the folder."""

    name: str  # of its file, as shown and as removed
    bytes: int


class SongFolder:
    """A folder of copies of uploaded songs; it is made with the first one. Safe from any thread.

    uploads: the folder that uploads lie in, from which alone songs are taken. has_room: whether
    so many bytes more may be kept, besides what the disk says.
    """

    def __init__(
        self,
        root: Path,
        uploads: Path,
        limits: Limits,
        has_room: Callable[[int], bool] = lambda incoming: True,
    ) -> None:
        self.root, self._uploads, self._limits = root, uploads, limits
        self._has_room = has_room
        self._lock = threading.Lock()

    def add(self, path: str | Path, display_name: str | None = None) -> str:
        """Copy an uploaded song in and return the name that it has now, unique whatever its case.

        display_name: what the visitor called it. `UserError` in one line for what is no audio, too
        large, too long, one too many, or has no room.
        """
        source = uploaded_file(path, self._uploads, self._limits.max_upload_bytes, display_name)
        shown = shown_name(display_name or source.name)
        stem, suffix = _parts(shown)
        self._check_room(source, shown)
        _check_audio(source, shown, self._limits.max_song_duration)
        partial = self.root / f".{secrets.token_hex(8)}.part"
        try:
            self.root.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(source, partial)
            with self._lock:
                self._check_number(shown)
                name = _unused(stem, suffix, self.root)
                partial.rename(self.root / name)
        except OSError as error:
            raise UserError(
                f"{shown}: cannot be copied ({error.strerror or error}); try again"
            ) from None
        finally:
            partial.unlink(missing_ok=True)
        return name

    def songs(self) -> list[Song]:
        """What is there, by name."""
        return listed(self.root)

    def remove(self, name: str) -> None:
        """Remove a song by the name that `songs` gives; `UserError` if there is none."""
        with self._lock:
            if name not in [song.name for song in self.songs()]:
                raise UserError(f"{shown_name(name)}: is none of these songs (any more)")
            (self.root / name).unlink(missing_ok=True)

    def move_into(self, folder: Path) -> int:
        """Move all songs into another folder, where none is replaced; return how many."""
        with self._lock:
            songs = self.songs()
            try:
                folder.mkdir(parents=True, exist_ok=True)
                for song in songs:
                    name = _unused(*_parts(song.name), folder)
                    partial = folder / f".{secrets.token_hex(8)}.part"
                    shutil.move(self.root / song.name, partial)  # the disk may be another
                    partial.rename(folder / name)
            except OSError as error:
                raise UserError(
                    f"the songs cannot be moved ({error.strerror or error}); make room, and try "
                    "again"
                ) from None
        return len(songs)

    def _check_number(self, shown: str) -> None:
        most = self._limits.max_songs
        if len(self.songs()) >= most:
            raise UserError(f"{shown}: is one more than the {most} songs that fit; remove some")

    def _check_room(self, source: Path, shown: str) -> None:
        self._check_number(shown)
        if not self._has_room(source.stat().st_size):
            raise UserError(
                f"{shown}: there is no room for more songs that wait: start with those that are "
                "there, or try again tomorrow"
            )
        existing = next(p for p in (self.root, *self.root.absolute().parents) if p.exists())
        free = shutil.disk_usage(existing).free
        if free < _GROWTH * source.stat().st_size + _SPARE:
            raise UserError(
                f"{shown}: the server's disk has {free / 1e9:.1f} GB left, too few to work with "
                "this song; tell who runs it"
            )


def listed(folder: Path) -> list[Song]:
    """The songs in a folder, by name; [] if it is not there."""
    from musicgen_train.data.audio import AUDIO_SUFFIXES

    try:
        with os.scandir(folder) as entries:
            files = [entry for entry in entries if entry.is_file(follow_symlinks=False)]
            found = [Song(entry.name, entry.stat().st_size) for entry in files]
    except OSError:
        return []
    songs = [s for s in found if Path(s.name).suffix in AUDIO_SUFFIXES and s.name[0] != "."]
    return sorted(songs, key=lambda song: (song.name.casefold(), song.name))


def _parts(shown: str) -> tuple[str, str]:
    """Stem and suffix that a file may have; a suffix that the preparation passes by is refused."""
    from musicgen_train.data.audio import AUDIO_SUFFIXES

    stem, _, end = shown.rpartition(".")
    suffix = f".{end}".lower()
    if suffix not in AUDIO_SUFFIXES:
        raise UserError(f"{shown}: is no {_KINDS} file; convert it to one")
    stem = unicodedata.normalize("NFC", stem).strip(" .-")
    short = stem.encode()[:_LONGEST_STEM].decode(errors="ignore").rstrip(" .-")
    return short or "song", suffix


def _unused(stem: str, suffix: str, folder: Path) -> str:
    """The name, or with a number: also on disks to which upper and lower case are the same."""
    taken = {entry.name.casefold() for entry in folder.iterdir()}
    name, number = f"{stem}{suffix}", 2
    while name.casefold() in taken:
        name, number = f"{stem} {number}{suffix}", number + 1
    return name


def _check_audio(path: Path, shown: str, longest: float) -> None:
    """Refuse what no decoder takes, and what is longer than allowed."""
    from musicgen_train.data.audio_file import AudioError, AudioFile

    try:
        file = AudioFile(path)
        most = longest * file.sample_rate
        n_samples = file.n_samples
        if n_samples is None:  # its header does not say
            n_samples = 0
            for block in file.blocks(finite=False):
                n_samples += block.shape[1]
                if n_samples > most:
                    break
    except AudioError as error:
        raise UserError(f"{shown}: {error.reason}; {error.remedy}") from None
    if not n_samples:
        raise UserError(f"{shown}: holds no audio samples; replace or remove it")
    if n_samples > most:
        raise UserError(f"{shown}: is longer than {longest / 60:g} minutes; cut it")
