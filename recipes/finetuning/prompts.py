"""What both models are asked for, before and after: the songs' captions, and general texts."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path

from recipes.finetuning.general_prompts import general_prompts
from recipes.finetuning.run_folder import read_json
from recipes.finetuning.stage import Work

KINDS = ("style", "general")


@dataclass(frozen=True)
class Prompt:
    """A text with its seed; the same for both models."""

    key: str
    kind: str  # style: in the manner of the songs; general: what the base could do before
    text: str
    seed: int
    song: str = ""  # whose caption it is
    segment: str = ""  # of that song, to listen to beside it
    instrument: str = ""  # that a general text asks for
    genre: str = ""


def make_prompts(work: Work) -> list[Prompt]:
    """As many of each kind as the plan says: captions of songs that training has not seen first."""
    n, first = work.plan().clips, work.settings.seed
    songs = captions_of(work.run / "codes", work.results["captions"]["held_out"])
    style = []
    for i in range(n):
        song, text, segment = songs[i % len(songs)]
        style.append(Prompt(f"style_{i:03d}", "style", text, first + i, song, segment))
    control = general_prompts("control")
    general = [
        Prompt(f"general_{i:03d}", "general", p.text, first + n + i,
               instrument=p.instrument, genre=p.genre)
        for i, p in ((i, control[i % len(control)]) for i in range(n))
    ]  # fmt: skip
    return style + general


def captions_of(codes: Path, held_out: list[str]) -> list[tuple[str, str, str]]:
    """File, text and a segment of each song, those that training has not seen first."""
    from musicgen_train.data.index import load_index
    from musicgen_train.data.shards import ShardReader

    index = load_index(codes)
    reader = ShardReader(index)
    songs: dict[str, tuple[str, str, str]] = {}
    for row in range(len(index)):
        told = json.loads(reader.read(row, "json"))
        track = told["track_id"]
        songs.setdefault(track, (told["file"], told.get("description", ""), index.key(row)))

    def rank(track: str) -> tuple[bool, bytes]:
        return track not in held_out, hashlib.sha256(track.encode()).digest()

    ranked = sorted(songs, key=rank)
    return [songs[track] for track in ranked]


def to_json(prompts: list[Prompt]) -> list[dict[str, object]]:
    return [asdict(prompt) for prompt in prompts]


def read_prompts(path: Path) -> list[Prompt]:
    """The prompts that the samples were made of."""
    return [Prompt(**row) for row in read_json(path)["prompts"]]
