"""A track's metadata as text: sometimes merged into its description, as MusicGen trains."""

from collections.abc import Mapping
from typing import Any

import torch

FIELDS = ("key", "bpm", "genre", "moods", "instrument", "keywords")


def merge_metadata(
    metadata: Mapping[str, Any],
    generator: torch.Generator,
    *,
    merge_p: float = 0.25,
    drop_description_p: float = 0.5,
    keep_field_p: float = 0.5,
) -> str:
    """The description, with probability merge_p joined by (or replaced by) "field: value" pairs.

    Every field is optional; without a description and without a kept field the text is "". Of a
    description that is replaced the `trigger` stays, the words that call the style of some songs.
    """
    description = str(metadata.get("description") or "").strip()
    if not chance(merge_p, generator):
        return description
    fields = [
        f"{name}: {value}"
        for name in FIELDS
        if (value := field_text(metadata.get(name))) and chance(keep_field_p, generator)
    ]
    order = torch.randperm(len(fields), generator=generator).tolist()
    if chance(drop_description_p, generator):
        description = field_text(metadata.get("trigger"))
    parts = [description.rstrip("."), *(fields[i] for i in order)]
    return ". ".join(part for part in parts if part)


def field_text(value: Any) -> str:
    """A metadata value in words; "" if there is none."""
    if value is None:
        return ""
    if isinstance(value, list | tuple):
        return ", ".join(str(item).strip() for item in value if str(item).strip())
    if isinstance(value, float) and value.is_integer():
        value = int(value)  # 120 bpm, not 120.0
    return str(value).strip()


def chance(p: float, generator: torch.Generator) -> bool:
    """True with probability p. Always draws, so that p does not shift later draws."""
    return bool(torch.rand((), generator=generator) < p)
