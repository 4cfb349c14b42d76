"""A visitor's takes as cards: players, downloads, and two of them compared."""

import functools
import time
from pathlib import Path
from typing import Any

import gradio as gr

from musicgen_train.app.takes import Take, TakeStore
from musicgen_train.app.waveform import outline

_FOLDER = Path(__file__).parent
_NAMES = {
    "text": "text", "model": "model", "adapters": "adapters", "negative_text": "not",
    "melody": "melody",
    "prompt": "continues", "prompt_duration": "used of it", "duration": "duration", "seed": "seed",
    "cfg_coef": "guidance", "temperature": "temperature", "top_k": "top-k", "top_p": "top-p",
}  # fmt: skip
_SECONDS = ("duration", "prompt_duration")


def cards() -> gr.HTML:
    """The component; its value is what `shown` gives. Made inside a Blocks.

    Its events say which take they are about, by `id`: `settings`, `extend`, `fetch` (with a
    `format`) and `drop`.
    """
    return gr.HTML(
        [],
        html_template=(_FOLDER / "take_cards.html").read_text("utf-8"),
        js_on_load=(_FOLDER / "take_cards.js").read_text("utf-8"),
        elem_id="takes",
        apply_default_css=False,
    )


def shown(
    store: TakeStore, visitor: str, fetched: Path | None = None, fresh: bool = False
) -> list[dict[str, Any]]:
    """The cards of a visitor's takes, the newest first.

    fetched: a file that the browser saves at once. fresh: the first card was made just now, and is
    brought into view where the page is a single column.
    """
    value = [_card(take) for take in store.of(visitor)]
    if fetched is not None:  # an equal value would be no event: the same file may be saved again
        value.append({"fetched": str(fetched), "name": fetched.name, "at": time.time()})
    if fresh:
        value.append({"fresh": True})
    return value


def _card(take: Take) -> dict[str, Any]:
    return {
        "id": take.id,
        "text": str(take.settings.get("text", "")),
        "title": take.title,
        "duration": round(take.duration, 2),
        "created": round(1000 * take.created),
        "music": str(take.wav),
        "picture": str(take.spectrogram),
        "outline": _outline(take.id, take.wav),
        "facts": list(_facts(take.settings)),
    }


def _facts(settings: dict[str, Any]) -> "list[tuple[str, str]]":
    """The settings that were made use of, as they are read."""
    facts = []
    for key, name in _NAMES.items():
        value = settings.get(key)
        if value in (None, "", {}):
            continue
        if isinstance(value, dict):
            value = ", ".join(f"{label} × {weight:g}" for label, weight in value.items())
        elif key in _SECONDS:
            value = f"{value:g} s"
        elif isinstance(value, float):
            value = f"{value:g}"
        facts.append((name, str(value)))
    return facts


@functools.lru_cache(maxsize=4096)
def _outline(id: str, path: Path) -> tuple[int, ...]:
    """By id: a take's music never changes."""
    try:
        return tuple(outline(path))
    except (OSError, RuntimeError):  # it was removed just now
        return ()
