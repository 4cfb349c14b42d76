"""metrics.json of evaluations and fine-tunings as the comparison takes it, whatever was in it."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from musicgen_train.app.untrusted_files import (
    as_list,
    as_mapping,
    as_number,
    as_plain,
    as_text,
    as_whole,
    regular_file,
)

SIDES = ("before", "after")
_MOST_METRICS, _MOST_CLIPS = 300, 2000
_CLIP_BYTES = 2**27
_PLAYABLE = (".wav", ".flac", ".mp3", ".ogg", ".opus", ".m4a", ".aac")


def evaluated(content: Mapping[str, Any]) -> dict[str, Any]:
    """What evaluate.py wrote; what is not as it writes it is left out."""
    clips = [as_mapping(clip) for clip in as_list(content.get("clips"), _MOST_CLIPS)]
    files = [as_mapping(file) for file in as_list(content.get("files"), _MOST_CLIPS)]
    return {
        "subtitle": as_text(content.get("subtitle"), 300),
        "metrics": measured(content.get("metrics")),
        "clips": [_clip(clip) for clip in clips if as_text(clip.get("key"), 300)],
        "files": [_file(file) for file in files if as_text(file.get("name"), 300)],
        "settings": as_plain(as_mapping(content.get("settings"))),
    }


def finetuned(content: Mapping[str, Any], side: str, clips: list[dict[str, Any]]) -> dict[str, Any]:
    """What a fine-tuning measured of one side, under names without it."""
    rows = measured([*as_list(content.get("style")), *as_list(content.get("general"))])
    own = [row for row in rows if row["name"].endswith(f".{side}")]
    return {
        "subtitle": f"{side} the fine-tuning",
        "metrics": [{**row, "name": row["name"].removesuffix(f".{side}")} for row in own],
        "clips": clips,
        "files": [],
        "settings": {},
    }


def measured(rows: object) -> list[dict[str, Any]]:
    """The fields of each `Measurement`; a row that has no name or number of clips is none."""
    found: dict[str, dict[str, Any]] = {}
    for row in map(as_mapping, as_list(rows, _MOST_METRICS)):
        name, better = as_text(row.get("name"), 100), row.get("better")
        n_clips = as_whole(row.get("n_clips"))
        known = isinstance(better, str) and better in ("lower", "higher", "neither")
        if name and known and n_clips is not None:
            found.setdefault(name, {"name": name, "better": better, "n_clips": n_clips, **_of(row)})
    return list(found.values())


def _of(row: Mapping[str, Any]) -> dict[str, Any]:
    ends = [as_number(end) for end in as_list(row.get("interval"), 2)]
    texts = ("title", "unit", "good_end_is", "bad_end_is", "interval_is")
    return {
        **{name: as_text(row.get(name), 200) for name in texts},
        **{name: as_number(row.get(name)) for name in ("value", "good_end", "bad_end")},
        "n_vectors": as_whole(row.get("n_vectors")),
        "interval": ends if len(ends) == 2 and None not in ends else None,
        "warnings": tuple(as_text(line, 300) for line in as_list(row.get("warnings"), 20)),
        "others": _numbers(row.get("others")),
        "settings": as_plain(as_mapping(row.get("settings"))),
    }


def _clip(clip: Mapping[str, Any]) -> dict[str, Any]:
    facts = as_mapping(clip.get("facts"))
    return {
        "key": as_text(clip.get("key"), 300),
        "description": as_text(clip.get("description"), 2000),
        "segment": as_text(clip.get("segment"), 300),
        "track": as_text(clip.get("track"), 300),
        "facts": {"reference": _numbers(facts.get("reference"))},
        "scores": _numbers(clip.get("scores")),
        "audio": {
            as_text(kind, 40): as_text(place, 1000)
            for kind, place in as_mapping(clip.get("audio"), 20).items()
        },
    }


def _file(file: Mapping[str, Any]) -> dict[str, Any]:
    return {
        **_numbers(file),
        "name": as_text(file.get("name"), 300),
        "track": as_text(file.get("track"), 300),
    }


def _numbers(values: object) -> dict[str, float]:
    """The numbers of a mapping."""
    return {
        as_text(name, 100): number
        for name, value in as_mapping(values).items()
        if (number := as_number(value)) is not None
    }


def players(clip: Mapping[str, Any], run: Path, inner: str) -> dict[str, Path]:
    """Kind -> file of a clip's sounds, as far as they lie in the run.

    inner: the folder of its evaluation in the run, from which their places count.
    """
    found = {}
    for kind, place in clip["audio"].items():
        path = regular_file(run, inner, place, most=_CLIP_BYTES) if place else None
        if path is not None and path.suffix.lower() in _PLAYABLE:
            found[kind] = path
    return found
