"""What lies in a folder of music: its tracks, their metadata and a name for each in the shards."""

import hashlib
import json
import re
import unicodedata
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError

FIELDS = (
    "description", "title", "artist", "genre", "moods", "instrument", "keywords", "bpm", "key",
)  # fmt: skip
_LONGEST_KEY = 80


@dataclass(frozen=True)
class Track:
    """One audio file of the library."""

    path: Path
    name: str  # relative to the library, with "/"
    key: str  # unique, and safe as a webdataset key


def find_tracks(folder: Path) -> list[Track]:
    """Audio files under `folder`, by name; stems beside a track and hidden files are not tracks."""
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder of music; check input_dir")
    from musicgen_train.data.audio import AUDIO_SUFFIXES  # takes torch's import time

    names = sorted(
        path.relative_to(folder).as_posix()
        for path in folder.rglob("*")
        if path.suffix.lower() in AUDIO_SUFFIXES and path.is_file()
    )
    names = [name for name in names if not _is_aside(name)]
    if not names:
        known = ", ".join(sorted(AUDIO_SUFFIXES))
        raise UserError(f"{folder}: holds no audio files ({known}); check input_dir")
    slugs = [_slug(name) for name in names]
    uses = Counter(slugs)
    return [
        Track(folder / name, name, slug if uses[slug] == 1 else f"{slug}-{_digest(name)}")
        for name, slug in zip(names, slugs, strict=True)
    ]


def read_sidecar(track: Track) -> dict[str, Any]:
    """The JSON object beside a track (`song.flac` -> `song.json`); empty if there is none."""
    path = track.path.with_suffix(".json")
    if not path.is_file():
        return {}
    try:
        sidecar = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: is not JSON ({error}); correct or remove it") from None
    if not isinstance(sidecar, dict):
        raise UserError(f"{path}: is not a JSON object; correct or remove it")
    return sidecar


def split_group(track: Track, metadata: dict[str, Any]) -> str:
    """Tracks of one group stay in one split: the artist's, else only the track itself."""
    artist = str(metadata.get("artist") or "").strip().casefold()
    return f"artist:{artist}" if artist else f"track:{track.name}"


def _is_aside(name: str) -> bool:
    *folders, file = name.split("/")
    return file.startswith(".") or any(
        folder.endswith(".stems") or folder.startswith(".") for folder in folders
    )


def _slug(name: str) -> str:
    plain = unicodedata.normalize("NFKD", name.rsplit(".", 1)[0])
    plain = plain.encode("ascii", "ignore").decode().lower().replace("/", "__")
    plain = re.sub(r"[^a-z0-9_-]+", "-", plain).strip("-")
    if not plain or len(plain) > _LONGEST_KEY:
        plain = f"{plain[: _LONGEST_KEY - 9]}-{_digest(name)}".lstrip("-")
    return plain


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()[:8]
