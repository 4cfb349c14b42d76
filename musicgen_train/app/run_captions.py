"""captions.jsonl of a fine-tuning: what training is told of each song, read and edited."""

import json
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from musicgen_train.app.untrusted_files import as_text, cleaned, parse_object, read_text
from musicgen_train.errors import UserError

CAPTIONS = "captions.jsonl"
LONGEST = 2000  # letters of a caption
_MOST = 10_000  # lines
_NEEDED = ("song", "caption")


@dataclass(frozen=True)
class CaptionRow:
    """A song with what is said of it."""

    song: str
    caption: str  # as it stands now
    composed: str = ""  # by the recipe


def read_captions(folder: Path) -> list[CaptionRow]:
    """The captions of a run; [] before there are any, `UserError` names a damaged line."""
    return [
        CaptionRow(row["song"], as_text(row["caption"], LONGEST), as_text(row.get("composed")))
        for row in _rows(folder)
    ]


def save_captions(folder: Path, captions: Mapping[str, str]) -> int:
    """Write the captions of these songs, all or none; return how many are not as they were."""
    rows = _rows(folder)
    by_song = {row["song"]: row for row in rows}
    changed = 0
    for song, caption in captions.items():
        if song not in by_song:
            raise UserError(f"{_shown(song)}: is none of the captioned songs; load them again")
        text = _checked(song, caption)
        changed += text != by_song[song]["caption"]
        by_song[song]["caption"] = text
    if changed:
        lines = [json.dumps(row, ensure_ascii=False) + "\n" for row in rows]
        _write(folder / CAPTIONS, "".join(lines))
    return changed


def _rows(folder: Path) -> list[dict[str, Any]]:
    text = read_text(folder, CAPTIONS)
    if text is None:
        return []
    rows = []
    for number, line in enumerate(text.removeprefix("\ufeff").split("\n")[:_MOST], 1):
        if not line.strip():
            continue
        row = parse_object(line)
        if not all(isinstance(row.get(name), str) and _encodes(row[name]) for name in _NEEDED):
            raise UserError(f"{CAPTIONS}, line {number}: is damaged; mend or remove the line")
        rows.append(row)
    return rows


def _encodes(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half an emoji
        return False
    return True


def _checked(song: str, caption: object) -> str:
    """A caption on one line."""
    if not isinstance(caption, str) or not _encodes(caption):
        raise UserError(f"{_shown(song)}: its caption is no text; type it anew")
    if len(caption) > LONGEST:
        raise UserError(
            f"{_shown(song)}: its caption has {len(caption)} letters, more than {LONGEST}"
        )
    return " ".join(cleaned(" ".join(caption.split()), LONGEST).split())


def _write(path: Path, text: str) -> None:
    """Replace the file when all is written; a link there is replaced itself."""
    partial = path.with_name(f".{path.name}.{os.getpid()}.app")
    try:
        partial.write_text(text, encoding="utf-8")
        os.replace(partial, path)
    except OSError as error:
        raise UserError(
            f"the captions cannot be written ({error.strerror or error}); mend that, and save again"
        ) from None
    finally:
        partial.unlink(missing_ok=True)


def _shown(song: object) -> str:
    return cleaned(str(song), 80).replace("\n", " ")
