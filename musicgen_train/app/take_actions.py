"""What the buttons of a take do, and how a take that was downloaded comes back."""

from contextlib import suppress
from pathlib import Path
from typing import Any

import gradio as gr

from musicgen_train.app import take_cards
from musicgen_train.app.following import line
from musicgen_train.app.form_filling import filling, told_of_filling
from musicgen_train.app.generate_form import Form
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.sounds import uploaded_file
from musicgen_train.app.takes import TakeStore, read_settings
from musicgen_train.app.told_errors import told
from musicgen_train.errors import UserError

_PRIVATE: dict[str, Any] = {
    "api_visibility": "private", "show_progress": "hidden", "concurrency_limit": 8,
}  # fmt: skip


def bind_take_actions(
    parts: ServerParts, visitor: Any, form: Form, takes: Any, status: Any
) -> None:
    """What the buttons of the cards do to the form, and to the takes."""
    _bind_to_form(parts, visitor, form, takes, status)
    _bind_to_takes(parts.store, visitor, takes, status)


def _bind_to_form(parts: ServerParts, visitor: Any, form: Form, takes: Any, status: Any) -> None:
    """Use these settings, and continue this one."""
    store, filled = parts.store, form.filled

    def settings(visitor: str, event: gr.EventData) -> list[Any]:
        try:
            take = store.get(visitor, _asked(event, "id"))
            return _filled(parts, take.settings)
        except UserError as error:
            return [line(told(error), "failed"), *[gr.skip()] * len(filled)]

    def extend(visitor: str, event: gr.EventData) -> list[Any]:
        try:
            take = store.get(visitor, _asked(event, "id"))
            clip = _copy(parts, take.wav)
        except UserError as error:
            return [line(told(error), "failed"), *[gr.skip()] * 4]
        longest = parts.limits.max_duration
        used = take.duration if take.duration < longest - 1 else longest / 2
        said = f"The clip to continue is set: {used:.1f} s of it, then new music. Press Generate."
        return [
            line(said, "done"), clip, gr.update(open=True),
            "" if used == take.duration else f"{used:g}", min(longest, round(used + 8.0)),
        ]  # fmt: skip

    takes.settings(settings, visitor, [status, *filled], **_PRIVATE)
    continued = [status, form.prompt, form.prompt_box, form.prompt_duration, form.duration]
    takes.extend(extend, visitor, continued, **_PRIVATE)


def _bind_to_takes(store: TakeStore, visitor: Any, takes: Any, status: Any) -> None:
    """Downloads in another format, and remove."""

    def fetch(visitor: str, event: gr.EventData) -> Any:
        try:
            take = store.get(visitor, _asked(event, "id"))
            file = store.download(take, _asked(event, "format"))  # type: ignore[arg-type]
        except Exception as error:
            return [gr.skip(), line(told(error), "failed")]
        return [take_cards.shown(store, visitor, fetched=file), gr.skip()]

    def drop(visitor: str, event: gr.EventData) -> Any:
        with suppress(UserError):  # it was gone before
            store.remove(visitor, _asked(event, "id"))
        return take_cards.shown(store, visitor)

    takes.fetch(fetch, visitor, [takes, status], **_PRIVATE)
    takes.drop(drop, visitor, takes, **_PRIVATE)


def bind_refill(parts: ServerParts, form: Form, refill: gr.UploadButton, status: Any) -> None:
    """A take that was downloaded carries its settings: dropped here, they are in the form again."""

    def fill(path: str) -> list[Any]:
        try:
            file = uploaded_file(path, parts.uploads, parts.limits.max_upload_bytes)
            return _filled(parts, read_settings(file))
        except UserError as error:
            return [line(told(error), "failed"), *[gr.skip()] * len(form.filled)]

    refill.upload(
        fill, refill, [status, *form.filled], api_visibility="private", show_progress="hidden"
    )


def _asked(event: Any, name: str) -> str:
    """A text that an event of the cards carries, which anybody may have made."""
    data = event._data
    value = data.get(name) if isinstance(data, dict) else None
    return value if isinstance(value, str) else ""


def _filled(parts: ServerParts, settings: dict[str, Any]) -> list[Any]:
    """Updates of the status, and of the form."""
    return [line(told_of_filling(parts, settings), "done"), *filling(parts, settings)]


def _copy(parts: ServerParts, music: Path) -> str:
    """An upload like any other: takes come and go."""
    try:
        return str(parts.shown.copy(music))
    except UserError:
        raise UserError("this take is gone: generate it again") from None
