"""The folder of songs: what is there, whether it changed, how it gets rid of its vocals."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from musicgen_train.errors import UserError
from recipes.finetuning.settings import Settings

if TYPE_CHECKING:
    from data_prep.library import Track

BESIDE = (".json", ".csv", ".tsv", ".jsonl")  # what may say something about songs
COUNTED = 200  # songs whose length is looked up for the estimate
NO_SEPARATOR = (
    "give demucs_repo=FOLDER with the separator's files, go online once, or say separator=none if "
    "the songs have no vocals"
)


class Songs(NamedTuple):
    """What a look at the folder tells."""

    names: list[str]  # as the dataset has them
    seconds: float  # about, of all songs
    stamp: str  # changes with any file that counts
    with_stems: int  # songs whose sidecar lists stems
    one_line: str


def look_at(input_dir: str) -> Songs:
    """List the songs; UserError if there are none."""
    from data_prep.library import Library, printable

    listing = Library(input_dir).list()
    if not listing.tracks:
        raise UserError(f"{input_dir}: none of its songs can be opened; check its permissions")
    tracks = listing.tracks
    seconds = _seconds(input_dir, tracks)
    with_stems = sum(_lists_stems(input_dir, track) for track in tracks)
    n = len(tracks)
    said = f"{n} song{'s' if n > 1 else ''}, about {seconds / 60:.1f} minutes"
    names = [printable(track.name) for track in tracks]
    return Songs(names, seconds, _stamp(input_dir), with_stems, said)


def choose_separator(settings: Settings, songs: Songs) -> str:
    """How vocals go: as asked, else by the songs' own stems, else by HT-Demucs."""
    if settings.separator == "auto" and songs.with_stems == len(songs.names):
        return "stems"
    if settings.separator not in ("auto", "demucs"):
        return settings.separator
    _check_demucs(settings)
    return "demucs"


def _check_demucs(settings: Settings) -> None:
    """Refuse a separator that is neither here nor to be had."""
    import logging

    from musicgen_train.conditioning.stems import load_demucs

    logging.getLogger("huggingface_hub").setLevel(logging.ERROR)  # each try would be told
    print(f"looking for the separator {settings.demucs_model}", flush=True)
    try:
        load_demucs(settings.demucs_model, settings.demucs_repo)
    except UserError as error:
        if settings.demucs_repo is not None:
            raise
        reason = "" if "cannot be downloaded" in str(error) else f" ({error})"
        raise UserError(
            f"vocals cannot be taken out: the separator {settings.demucs_model} is not here and "
            f"cannot be downloaded{reason}: {NO_SEPARATOR}"
        ) from None
    load_demucs.cache_clear()


def _lists_stems(input_dir: str, track: Track) -> bool:
    if track.sidecar is None:
        return False
    from data_prep.metadata import read_sidecar

    try:
        return isinstance(read_sidecar(Path(input_dir, track.sidecar)).get("stems"), dict)
    except (UserError, OSError):  # which its song will be told of
        return False


def _seconds(input_dir: str, tracks: list[Track]) -> float:
    """Length of all songs, from the headers of some of them and the size of the others."""
    from musicgen_train.data.audio_file import AudioError, AudioFile

    found = size = 0.0
    for track in tracks[:: max(1, len(tracks) // COUNTED)]:
        try:
            file = AudioFile(Path(input_dir, track.name))
        except AudioError:
            continue
        if file.n_samples:
            found, size = found + file.n_samples / file.sample_rate, size + track.size
    total = sum(track.size for track in tracks)
    return found * total / size if size else total / 16_000  # as of MP3 at 128 kbit/s


def _stamp(input_dir: str) -> str:
    """A digest of names, sizes and times of all files that can change the songs."""
    from musicgen_train.data.audio import AUDIO_SUFFIXES

    counted = {*AUDIO_SUFFIXES, *BESIDE}
    found, seen = [], set()
    for folder, folders, files in os.walk(input_dir, followlinks=True):
        status = os.stat(folder)
        if (status.st_dev, status.st_ino) in seen:
            folders.clear()  # a loop of links
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in files:
            path = Path(folder, name)
            if path.suffix.lower() in counted:
                try:
                    status = path.stat()
                except OSError:
                    continue
                place = os.fsencode(path.relative_to(input_dir)).hex()
                found.append([place, status.st_size, status.st_mtime_ns])
    return hashlib.sha256(json.dumps(sorted(found)).encode()).hexdigest()[:16]
