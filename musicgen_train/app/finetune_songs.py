"""Songs that a visitor drops: gathered until a fine-tuning begins, and there after a reload."""

from collections.abc import Sequence
from typing import Any

import gradio as gr

from musicgen_train.app.finetune_form import FinetuneForm
from musicgen_train.app.following import line
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.sounds import display_name
from musicgen_train.app.told_errors import told
from musicgen_train.app.visitor import checked
from musicgen_train.errors import UserError

_PRIVATE: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8,
}  # fmt: skip


def bind_songs(
    parts: ServerParts, visitor: Any, form: FinetuneForm, said: gr.HTML, tab: gr.Tab
) -> None:
    """Songs are gathered until a fine-tuning begins, and are still there after a reload."""

    def add(visitor: str, files: Sequence[str] | None) -> list[Any]:
        refused: list[str] = []
        try:
            folder = parts.songs_of(checked(visitor))
        except UserError as error:
            return [None, line(told(error), "failed"), gr.skip(), gr.skip()]
        for file in files or []:
            try:
                folder.add(file, display_name(file))
            except Exception as error:
                refused.append(told(error))
        text = line(_refusals(refused), "failed") if refused else ""
        return [None, text, *listed(parts, visitor)]

    def remove(visitor: str, names: Sequence[str]) -> list[Any]:
        folder, text = parts.songs_of(visitor), ""
        for name in names or []:
            try:
                folder.remove(name)
            except UserError as error:
                text = line(told(error), "failed")
        return [text, *listed(parts, visitor)]

    shown = [form.gathered, form.remove]
    form.drop.upload(add, [visitor, form.drop], [form.drop, said, *shown], **_PRIVATE)
    form.remove.click(remove, [visitor, form.gathered], [said, *shown], **_PRIVATE)
    tab.select(lambda visitor: listed(parts, visitor), visitor, shown, **_PRIVATE)


def listed(parts: ServerParts, visitor: str) -> list[Any]:
    """Updates of the list, and of the button under it."""
    songs = parts.songs_of(visitor).songs()
    choices = [(f"{song.name} ({song.bytes / 1e6:.1f} MB)", song.name) for song in songs]
    there = bool(songs)
    label = f"Songs: {len(songs)}"
    return [
        gr.update(choices=choices, value=[], visible=there, label=label),
        gr.update(visible=there),
    ]


def _refusals(refused: list[str]) -> str:
    more = f" And {len(refused) - 3} more." if len(refused) > 3 else ""
    return f"Left out: {'; '.join(refused[:3])}.{more}"
