"""Codes get their songs' captions; some songs are kept out of training, to measure with."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from recipes.finetuning.captions import (
    Caption,
    compose,
    read_captions,
    updated,
    with_trigger,
    write_captions,
)
from recipes.finetuning.run_folder import whole_folder
from recipes.finetuning.stage import Stage, Work

if TYPE_CHECKING:
    from musicgen_train.data.shards import ShardReader

FEW = 5  # songs; of fewer none is kept out
HELD_OUT, MOST = 0.15, 8  # share of the songs, and their number


class Song(NamedTuple):
    """A song of the dataset."""

    key: str  # of its segments
    name: str  # of its file
    composed: str


def settings_of(work: Work) -> dict[str, Any]:
    """The captions count as they are edited; those of later songs are composed."""
    known = read_captions(work.run.captions)
    return {
        "trigger": work.settings.trigger,
        "held_out": work.settings.held_out,
        "seed": work.settings.seed,
        "edits": {song: c.text for song, c in sorted(known.items()) if c.edited},
    }


def run(work: Work) -> dict[str, Any]:
    from musicgen_train.data.index import load_index
    from musicgen_train.data.shards import ShardReader

    index = load_index(work.run / "tokens")
    reader = ShardReader(index)
    metadata = [json.loads(reader.read(row, "json")) for row in range(len(index))]
    songs = {m["track_id"]: Song(m["track_id"], m["file"], compose(m)) for m in metadata}
    known = read_captions(work.run.captions)
    captions = updated(known, {song.name: song.composed for song in songs.values()})
    trigger, settings = work.settings.trigger, work.settings
    write_captions(work.run.captions, captions, trigger)
    held = held_out(sorted(songs), settings.held_out, settings.seed)
    n_edited = sum(captions[song.name].edited for song in songs.values())
    print(
        f"{work.run.captions}: {len(songs)} captions, {n_edited} edited; edit them and run this "
        "again, which redoes only what depends on them"
    )
    print(_held_line(held, songs))
    with whole_folder(work.run / "codes") as folder:
        info = relabel(reader, metadata, captions, trigger, held, folder)
    return {
        "fingerprint": info["fingerprint"],
        "train_segments": info["splits"]["train"]["samples"],
        "held_out": sorted(held),
        "held_out_files": sorted(songs[key].name for key in held),
    }


def held_out(keys: Sequence[str], wanted: int | None, seed: int) -> set[str]:
    """Which songs no training sees: drawn by their keys, so that it does not hang on their order.

    Songs, not artists, are kept apart: the style of an artist is what is to be learnt.
    """
    n = len(keys)
    if wanted is None:
        wanted = 0 if n < FEW else max(1, min(round(HELD_OUT * n), MOST))
    ranked = sorted(keys, key=lambda key: hashlib.sha256(f"{seed}\0{key}".encode()).digest())
    return set(ranked[: min(wanted, n - 1)])


def _held_line(held: set[str], songs: dict[str, Song]) -> str:
    if held:
        names = ", ".join(sorted(songs[key].name for key in held))
        return f"kept out of training, to measure with: {names}"
    n = f"{len(songs)} song{'s' if len(songs) > 1 else ''}"
    return f"no song is kept out of training, of {n}: it is measured on what it was trained on"


def relabel(
    reader: ShardReader,
    metadata: Sequence[dict[str, Any]],
    captions: dict[str, Caption],
    trigger: str,
    held: set[str],
    folder: Any,
) -> dict[str, Any]:
    """Write the dataset again with its captions and splits."""
    from musicgen_train.data.shards import DatasetWriter

    index = reader.index
    others = [name for name in index.members if name != "json"]
    rows = sorted(range(len(index)), key=lambda row: metadata[row]["track_id"] in held)
    with DatasetWriter(folder, index.members) as writer:
        for row in rows:
            told = metadata[row]
            text = with_trigger(trigger, captions[told["file"]].text)
            split = "valid" if told["track_id"] in held else "train"
            told = {**told, "description": text, "split": split}
            told |= {"trigger": trigger} if trigger else {}
            files = {name: data for name in others if (data := reader.read(row, name))}
            files["json"] = json.dumps(told, ensure_ascii=False).encode()
            writer.write(index.key(row), files, split, float(index.duration[row]))
        return writer.close(dict(index.info))


STAGE = Stage(
    "captions", "Captioning them", ("tokenize",), ("codes",), settings_of, run,
    keeps=("captions.jsonl",),
)  # fmt: skip
