"""What lies in a folder of music, here or in a bucket, and what its tracks are called in shards."""

import hashlib
import os
import posixpath
import re
import tempfile
import unicodedata
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.errors import UserError

_LONGEST_KEY = 80


class Track(NamedTuple):
    """One audio file of the library."""

    name: str  # relative to the library, with "/"
    key: str  # unique, and safe as a webdataset key
    size: int  # bytes
    stamp: str  # changes with the file: its time of change, or a bucket's etag
    sidecar: str | None  # name of the JSON file beside it


class Listing(NamedTuple):
    """Everything that was found."""

    tracks: list[Track]
    unreadable: dict[str, str]  # name -> reason: files and folders that cannot even be looked at
    others: dict[str, int]  # suffix -> number of files that are no audio, by their names


@dataclass(frozen=True)
class Library:
    """A folder of music, local or of any file system that fsspec knows (s3://, gs://, http://)."""

    url: str

    @property
    def is_local(self) -> bool:
        return "://" not in self.url

    def absolute(self) -> "Library":
        """The same library for a process with another working directory."""
        return Library(os.path.abspath(self.url)) if self.is_local else self

    def list(self) -> Listing:
        """All tracks by name; stems beside a track and hidden files are not tracks."""
        files, unreadable = self._walk() if self.is_local else (self._find(), {})
        from musicgen_train.data.audio import AUDIO_SUFFIXES  # takes torch's import time

        audio = {name for name in files if _suffix(name) in AUDIO_SUFFIXES}
        owners = {posixpath.splitext(name)[0] for name in audio}
        tracks = {name for name in audio if not _is_aside(name, owners)}
        # A folder that cannot be opened may hold tracks; a link to nowhere is one by its name.
        unreadable = {
            name: reason
            for name, reason in unreadable.items()
            if _suffix(name) in AUDIO_SUFFIXES or os.path.isdir(os.path.join(self.url, name))
        }
        if not tracks and not unreadable:
            known = ", ".join(sorted(AUDIO_SUFFIXES))
            raise UserError(f"{self.url}: holds no audio files ({known}); check input_dir")
        keys = _keys(sorted(tracks))
        found = [
            Track(name, keys[name], *files[name], _sidecar(name, files)) for name in sorted(tracks)
        ]
        others = Counter(
            "hidden" if name in audio else _suffix(name) or "none"
            for name in files
            if name not in tracks and _suffix(name) != ".json" and not _is_stem(name, owners)
        )
        return Listing(found, unreadable, dict(sorted(others.items())))

    @contextmanager
    def local(self, name: str, scratch: Path) -> Iterator[Path]:
        """The file as a local path: its own, or a copy in `scratch` that disappears afterwards."""
        if self.is_local:
            yield Path(self.url, name)
            return
        filesystem, root = self._filesystem()
        scratch.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryDirectory(dir=scratch) as folder:
            path = Path(folder, f"copy{_suffix(name)}")
            filesystem.get_file(posixpath.join(root, name), str(path))
            yield path

    def stamp(self, name: str) -> tuple[int, str]:
        """Size and time of change of one file."""
        if not self.is_local:
            filesystem, root = self._filesystem()
            return _remote_stamp(filesystem.info(posixpath.join(root, name)))
        return _local_stamp(os.stat(Path(self.url, name)))

    def _walk(self) -> tuple[dict[str, tuple[int, str]], dict[str, str]]:
        """Files under the folder (each folder once, links followed), and what cannot be read."""
        root = Path(self.url)
        if not os.path.isdir(root):
            raise UserError(f"{self.url}: no such folder of music; check input_dir")
        files: dict[str, tuple[int, str]] = {}
        unreadable: dict[str, str] = {}
        seen: set[tuple[int, int]] = set()
        real, linked = [root], []  # real folders first: a file is called by its own name
        while real or linked:
            folder = real.pop() if real else linked.pop(0)
            try:
                status = os.stat(folder)
                if (status.st_dev, status.st_ino) in seen:
                    continue  # a loop of links, or a second way to the same place
                seen.add((status.st_dev, status.st_ino))
                entries = sorted(os.scandir(folder), key=lambda entry: entry.name)
            except OSError as error:
                unreadable[_name(folder, root)] = f"cannot be opened ({error.strerror})"
                continue
            for entry in entries:
                path = folder / entry.name
                try:
                    if entry.is_dir():
                        (linked if entry.is_symlink() else real).append(path)
                    elif entry.is_file():
                        files[_name(path, root)] = _local_stamp(entry.stat())
                    else:  # a pipe would wait for ever; a link to nowhere tells in `stat`
                        entry.stat()
                        unreadable[_name(path, root)] = "is not a file"
                except OSError as error:
                    unreadable[_name(path, root)] = f"cannot be opened ({error.strerror})"
        return files, unreadable

    def _find(self) -> dict[str, tuple[int, str]]:
        filesystem, root = self._filesystem()
        try:
            found: Any = filesystem.find(root, detail=True)
        except Exception as error:
            reason = (str(error).strip() or type(error).__name__).splitlines()[0]
            raise UserError(f"{self.url}: cannot be listed ({reason}); check input_dir") from None
        stamps = {}
        for path, info in found.items():
            stamp = _remote_stamp(info)  # listings over http say nothing of a file
            stamps[posixpath.relpath(path, root.rstrip("/"))] = (
                stamp if stamp[1] else _remote_stamp(filesystem.info(path))
            )
        return stamps

    def _filesystem(self) -> tuple[Any, str]:
        from fsspec.core import url_to_fs

        try:
            return url_to_fs(self.url)
        except (ImportError, ValueError) as error:
            raise UserError(f"{self.url}: {str(error).splitlines()[0]}") from None


def inside(name: str, relative: str) -> str:
    """The library's name of a file that a sidecar names relative to itself; never outside."""
    joined = posixpath.normpath(posixpath.join(posixpath.dirname(name), relative))
    if joined.startswith(("../", "/")) or joined == "..":
        raise UserError(f"its sidecar names a file outside of the library ({relative})")
    return joined


def printable(name: str) -> str:
    """A file's name as text that can be written as UTF-8, whatever bytes it holds."""
    return name.encode("utf-8", "surrogateescape").decode("utf-8", "backslashreplace")


def _name(path: Path, root: Path) -> str:
    return path.relative_to(root).as_posix()


def _suffix(name: str) -> str:
    return posixpath.splitext(name)[1].lower()


def _local_stamp(status: os.stat_result) -> tuple[int, str]:
    return status.st_size, f"{status.st_mtime_ns}-{status.st_ctime_ns}-{status.st_ino}"


def _remote_stamp(info: dict[str, Any]) -> tuple[int, str]:
    stamp = next((info[name] for name in ("ETag", "etag", "md5Hash", "LastModified", "mtime")
                  if info.get(name)), "")  # fmt: skip
    return int(info.get("size") or 0), str(stamp)


def _sidecar(name: str, files: dict[str, Any]) -> str | None:
    beside = posixpath.splitext(name)[0] + ".json"
    return beside if beside in files else None


def _is_aside(name: str, owners: set[str]) -> bool:
    """Stems of a track, and what systems hide ("._song.mp3", ".Trash/…"), but not "...song"."""
    hidden = any(re.match(r"\.(?!\.)", part) for part in name.split("/"))
    return hidden or _is_stem(name, owners)


def _is_stem(name: str, owners: set[str]) -> bool:
    """Whether it lies in the folder `song.stems` beside a track `song`."""
    *folders, _ = name.split("/")
    return any(
        folder.endswith(".stems")
        and posixpath.join(*folders[:depth], folder.removesuffix(".stems")) in owners
        for depth, folder in enumerate(folders)
    )


def _keys(names: list[str]) -> dict[str, str]:
    slugs = {name: _slug(name) for name in names}
    uses = Counter(slugs.values())
    return {
        name: slug if uses[slug] == 1 else f"{slug}-{_digest(name)}" for name, slug in slugs.items()
    }


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.rsplit(".", 1)[0])
    plain = plain.encode("ascii", "ignore").decode().lower().replace("/", "__")
    plain = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-")
    if not plain or len(plain) > _LONGEST_KEY:
        plain = f"{plain[: _LONGEST_KEY - 9]}-{_digest(name)}".lstrip("-")
    return plain


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
