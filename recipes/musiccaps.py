"""MusicCaps as real music to compare with: its clips, their captions, and what is missing.

python -m recipes.musiccaps CSV AUDIO_DIR OUTPUT_DIR [--subset all|balanced|eval]

CSV is musiccaps-public.csv as Google published it. AUDIO_DIR, with folders in it or not, holds
files with the 11 letters of the YouTube id anywhere in their names: ID.wav, YID.flac,
`Title [ID].m4a`, ID_30.000.wav, ID_30000_40000.flac, [ID]-[30-40].wav. The first number after the
id, if one is there, must be the clip's start in seconds or milliseconds. A file no more than a
second longer than the clip is the clip; from a longer one it is cut at start_s.

Writes OUTPUT_DIR/clips/ID_START.flac (rate and channels of the file, 16 bit), texts.json with the
captions of these clips, and at last manifest.json: every row without a clip, and why.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import re
from collections import Counter
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.data.audio import AudioError, AudioFile, read_audio
from musicgen_train.errors import UserError, exit_on_user_error
from musicgen_train.evaluation.clips import Clip, find_clips, write_clip
from musicgen_train.progress import reporting
from musicgen_train.whole_files import write_json, writing
from recipes.musiccaps_table import LETTERS, SUBSETS, Row, Table, read_table

SLACK = 1.0  # seconds by which a file may be longer than the clip that it is
SHORTEST = 0.5  # of a clip's duration: what is left of others says too little of it
NEARLY = 0.95  # of its duration: what is shorter is told
THREADS = 4
FORMAT = 1  # goes up when other clips come of the same audio


class Cut(NamedTuple):
    """What became of a row: a clip, or the reason why there is none."""

    duration: float = 0.0  # seconds
    kind: str = ""  # "44100 Hz, 2 channels"
    reason: str = ""
    detail: str = ""


def prepare(table_file: Path, audio: Path, output: Path, subset: str = "all") -> dict[str, Any]:
    """Write clips, texts.json and manifest.json, and return the manifest.

    What is there of the same request is kept; that of another is refused.
    """
    table = read_table(table_file, subset)
    files = find_audio(audio, {row.ytid for row in table.rows})
    request = {
        "format": FORMAT,
        "csv": hashlib.sha256(table_file.read_bytes()).hexdigest(),
        "subset": subset,
        "audio": fingerprint(audio, files),
    }
    done = begun(output, request)
    if done is not None:
        return done
    chosen = {row.name: choose(row, files.get(row.ytid, ())) for row in table.rows}
    cuts = cut_all(table.rows, chosen, output / "clips")
    found = [row for row in table.rows if not cuts[row.name].reason]
    if len(found) < 2:
        why = next((f"{cut.reason}: {cut.detail}" for cut in cuts.values() if cut.reason), "no row")
        raise UserError(
            f"{audio} has audio for {len(found)} of {len(table.rows)} rows ({why}): name the files "
            "by their YouTube ids"
        )
    manifest = {
        **account(table, cuts),
        "sources": {
            row.name: path.relative_to(audio).as_posix()
            for row in found
            if isinstance(path := chosen[row.name], Path)
        },
        "request": request,
    }
    with writing(output):
        write_json(output / "texts.json", {row.name: row.caption for row in found})
        write_json(output / "manifest.json", manifest)
    return manifest


def find_audio(folder: Path, ids: set[str]) -> dict[str, list[Path]]:
    """The files of each id, sorted."""
    found: dict[str, list[Path]] = {}
    for path in find_clips(folder):
        place = id_in(path.stem, ids)
        if place is not None:
            found.setdefault(path.stem[place : place + LETTERS], []).append(path)
    return found


def id_in(stem: str, ids: set[str]) -> int | None:
    """Where in a file's name a known id begins."""
    starts = range(len(stem) - LETTERS + 1)
    return next((i for i in starts if stem[i : i + LETTERS] in ids), None)


def choose(row: Row, files: Sequence[Path]) -> Path | Cut:
    """The file of a row: one named by its start, else one named by no time."""
    whole = list[Path]()
    for path in files:
        rest = path.stem[path.stem.index(row.ytid) + LETTERS :]
        told = re.search(r"\d+(\.\d+)?", rest)
        if told is None:
            whole.append(path)
        elif float(told[0]) in (row.start, 1000 * row.start):
            return path
    if whole:
        return whole[0]
    if files:
        return Cut(reason="audio of another time", detail=files[0].name)
    return Cut(reason="no audio file", detail=row.ytid)


def cut_all(rows: Sequence[Row], chosen: Mapping[str, Path | Cut], clips: Path) -> dict[str, Cut]:
    """Make the clips that are not there yet; what became of each row, by name."""
    clips.mkdir(parents=True, exist_ok=True)
    for left in clips.glob(".*.tmp"):  # of a run that was killed
        left.unlink()

    def make(row: Row) -> Cut:
        path, place = chosen[row.name], clips / f"{row.name}.flac"
        if isinstance(path, Cut):
            return path
        if not place.is_file():
            try:
                wav, rate = cut(row, path)
            except AudioError as error:
                return Cut(reason="audio that cannot be used", detail=f"{path.name}: {error}")
            with writing(place):
                write_clip(place, Clip(row.name, wav, rate))
        return told(place)

    found: dict[str, Cut] = {}
    with ThreadPoolExecutor(THREADS) as pool, reporting(None, True, "cutting clips") as report:
        for row, result in zip(rows, pool.map(make, rows), strict=True):
            found[row.name] = result
            report(len(found), len(rows))
    return found


def cut(row: Row, path: Path) -> tuple[Any, int]:
    """The wav [C, N] of a row and its rate; AudioError if most of it is not there."""
    wanted = row.end - row.start
    wav, rate = read_audio(path, 0.0, wanted + 2 * SLACK)
    if wav.shape[1] > (wanted + SLACK) * rate:
        wav, rate = read_audio(path, row.start, wanted)
    wav = wav[:, : round(wanted * rate)]
    if wav.shape[1] < SHORTEST * wanted * rate:
        raise AudioError(path, f"has {wav.shape[1] / rate:.1f} of {wanted:g} s", "get it again")
    return wav, rate


def told(place: Path) -> Cut:
    """What the manifest says of a clip."""
    clip = AudioFile(place)
    channels = "1 channel" if clip.channels == 1 else f"{clip.channels} channels"
    return Cut((clip.n_samples or 0) / clip.sample_rate, f"{clip.sample_rate} Hz, {channels}")


def account(table: Table, cuts: Mapping[str, Cut]) -> dict[str, Any]:
    """How many rows have clips, and of the others each with its reason."""
    wanted = {row.name: row.end - row.start for row in table.rows}
    lacking: dict[str, dict[str, str]] = {}
    if table.bad:
        lacking["a row that tells of no clip"] = table.bad
    for name, found in cuts.items():
        if found.reason:
            lacking.setdefault(found.reason, {})[name] = found.detail
    clips = {name: found for name, found in cuts.items() if not found.reason}
    return {
        "rows": table.n_rows,
        "clips": len(clips),
        "left_out": {reason: len(names) for reason, names in lacking.items()},
        "kinds": dict(Counter(found.kind for found in clips.values())),
        "short": {
            name: round(found.duration, 2)
            for name, found in clips.items()
            if found.duration < NEARLY * wanted[name]
        },
        "left_out_rows": lacking,
    }


def fingerprint(folder: Path, files: Mapping[str, Sequence[Path]]) -> str:
    """Changes with the names and sizes of the files of known ids."""
    paths = sorted(path for found in files.values() for path in found)
    listed = [[path.relative_to(folder).as_posix(), path.stat().st_size] for path in paths]
    return hashlib.sha256(json.dumps(listed).encode()).hexdigest()


def begun(output: Path, request: Mapping[str, Any]) -> dict[str, Any] | None:
    """The manifest of the same request, if it was met; a new request is noted."""
    with writing(output):
        output.mkdir(parents=True, exist_ok=True)
    place, manifest = output / "request.json", output / "manifest.json"
    kept = manifest.is_file() or any((output / "clips").glob("*.flac"))
    if kept and place.is_file() and (found := json.loads(place.read_text())) != request:
        changed = ", ".join(name for name in request if found.get(name) != request[name])
        raise UserError(
            f"{output} was made of another request (its {changed} differs): take another folder, "
            "or delete that one"
        )
    if manifest.is_file():
        return json.loads(manifest.read_text())
    with writing(place):
        write_json(place, request)
    return None


@exit_on_user_error
def main() -> None:
    """Prepare, and say what is missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("csv", type=Path, help="musiccaps-public.csv")
    parser.add_argument("audio", type=Path, help="folder of audio named by YouTube ids")
    parser.add_argument("output", type=Path, help="folder for clips, texts.json, manifest.json")
    parser.add_argument("--subset", choices=SUBSETS, default="all")
    arguments = parser.parse_args()
    manifest = prepare(arguments.csv, arguments.audio, arguments.output, arguments.subset)
    left_out = ", ".join(f"{n} {reason}" for reason, n in manifest["left_out"].items())
    print(
        f"{manifest['clips']} of {manifest['rows']} rows have a clip"
        + (f"; left out: {left_out}" if left_out else "")
        + (f"; {len(manifest['short'])} clips are short" if manifest["short"] else "")
        + f" ({arguments.output / 'manifest.json'})"
    )


if __name__ == "__main__":
    main()
