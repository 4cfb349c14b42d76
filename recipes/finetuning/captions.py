"""captions.jsonl: a line for each song, composed at first, and then as the user edits it.

{"song": file, "caption": edit this, "composed": what it was, "trigger": what training puts before}
"""

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.errors import UserError
from musicgen_train.whole_files import write_text

LONGEST = 2000  # characters


class Caption(NamedTuple):
    """What is said of a song."""

    text: str  # as it stands now
    composed: str  # from its metadata and from what was estimated

    @property
    def edited(self) -> bool:
        """Whether the user has changed it."""
        return self.text != self.composed


def read_captions(path: Path) -> dict[str, Caption]:
    """The captions by song; UserError names the line that an edit has spoilt."""
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors put a mark in front
    except FileNotFoundError:
        return {}
    except (OSError, UnicodeDecodeError):
        raise UserError(f"{path}: is no text in UTF-8; mend it, or remove it") from None
    found: dict[str, Caption] = {}
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            song, caption = _parsed(line, f"{path}, line {number}")
            found[song] = caption
    return found


def _parsed(line: str, place: str) -> tuple[str, Caption]:
    try:
        row = json.loads(line)
    except (ValueError, RecursionError):
        raise UserError(f"{place}: is no JSON; mend it, or remove the line to begin anew") from None
    needed = ("song", "caption")
    if not isinstance(row, dict) or not all(isinstance(row.get(n), str) for n in needed):
        raise UserError(f'{place}: needs "song" and "caption", both text; mend or remove it')
    caption = " ".join(row["caption"].split())
    if len(caption) > LONGEST:
        raise UserError(f"{place}: the caption has {len(caption)} characters, more than {LONGEST}")
    return row["song"], Caption(caption, str(row.get("composed", "")))


def updated(known: Mapping[str, Caption], composed: Mapping[str, str]) -> dict[str, Caption]:
    """A caption for each song: what was edited stays, the rest is as it is composed today.

    What was edited of a song that is not there stays as well: it may only be so for this run.
    """
    captions = {song: c for song, c in known.items() if c.edited and song not in composed}
    for song, text in composed.items():
        old = known.get(song)
        captions[song] = Caption(old.text if old and old.edited else text, text)
    return captions


def write_captions(path: Path, captions: Mapping[str, Caption], trigger: str) -> None:
    """Write the lines, if they are not there already."""
    lines = [
        json.dumps(
            {"song": song, "caption": c.text, "composed": c.composed, "trigger": trigger},
            ensure_ascii=False,
        )
        for song, c in sorted(captions.items())
    ]
    text = "".join(line + "\n" for line in lines)
    if not path.is_file() or path.read_text(encoding="utf-8") != text:
        write_text(path, text)


def with_trigger(trigger: str, caption: str) -> str:
    """What training reads: the trigger, then the caption."""
    if trigger and re.match(rf"{re.escape(trigger)}(?!\w)", caption, re.IGNORECASE):
        return caption
    return ", ".join(part for part in (trigger, caption) if part)


def compose(metadata: Mapping[str, Any]) -> str:
    """What is known of a song in a sentence; "Music" without anything."""
    return str(metadata.get("description") or "").strip()[:LONGEST].rstrip() or "Music"
