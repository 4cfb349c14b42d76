"""The form of the Generate tab as the settings of a take fill it, whoever vouches for them."""

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from musicgen_train.app.generate_form import MOST_ADAPTERS
from musicgen_train.app.optional_number import as_typed
from musicgen_train.app.request import LONGEST_TEXT
from musicgen_train.app.server_parts import ServerParts
from musicgen_train.app.sounds import display_name
from musicgen_train.app.untrusted_files import as_number
from musicgen_train.arguments import shown

_SOUNDS = ("melody", "prompt")


def filling(parts: ServerParts, settings: Mapping[str, Any]) -> list[Any]:
    """Updates of `Form.filled` from the settings of a take, which need not be trusted.

    A melody or a clip stays in the form only if the take had one too, which may be the same.
    """
    shelf = parts.shelf
    model = settings.get("model")
    model = model if model in shelf.choices() else None
    weighted = settings.get("adapters")
    weighted = weighted if isinstance(weighted, dict) and model else {}
    known = shelf.adapters_of(model) if weighted and model else []
    weighted = {k: v for k, v in weighted.items() if k in known and as_number(v) is not None}
    prompt_duration, duration, seed, *numbers = [
        _number_or(settings.get(key), default)
        for key, default in (
            ("prompt_duration", None), ("duration", 8.0), ("seed", None), ("cfg_coef", 3.0),
            ("temperature", 1.0), ("top_k", 250), ("top_p", 0.0),
        )
    ]  # fmt: skip
    return [
        gr.skip() if model is None else gr.update(value=model),
        str(settings.get("text") or "")[:LONGEST_TEXT],
        str(settings.get("negative_text") or "")[:LONGEST_TEXT],
        as_typed(prompt_duration),
        duration,
        as_typed(seed),
        *numbers,
        bool(settings.get("melody_separator")),
        *(gr.skip() if settings.get(name) else gr.update(value=None) for name in _SOUNDS),
        gr.skip() if model is None else gr.update(
            choices=shelf.adapters_of(model), value=list(weighted)[:MOST_ADAPTERS]
        ),
        *weight_sliders(parts, list(weighted), list(weighted.values())),
    ]  # fmt: skip


def told_of_filling(parts: ServerParts, settings: Mapping[str, Any]) -> str:
    """What the form has now, and what of the settings it cannot have, as a line."""
    said = ["The form has the settings of this take."]
    model = settings.get("model")
    if model not in parts.shelf.choices():
        said.append(f"Its model {shown(model)} is not offered here: another one is chosen.")
    sounds = [display_name(str(settings[name])) for name in _SOUNDS if settings.get(name)]
    if sounds:
        said.append(f"Add {' and '.join(sounds)} again.")
    return " ".join(said)


def weight_sliders(
    parts: ServerParts, adapters: Sequence[str], weights: Sequence[float | None] = ()
) -> list[Any]:
    """Updates of the sliders: one for each adapter, with the words that bring its style out."""
    updates = []
    for i in range(MOST_ADAPTERS):
        if i >= len(adapters):
            updates.append(gr.update(visible=False))
            continue
        trigger = parts.shelf.trigger_of(adapters[i])
        info = f"say “{trigger}” in the text" if trigger else "0: off, 1: as trained"
        own: dict[str, Any] = {"value": weights[i]} if i < len(weights) else {}
        updates.append(gr.update(visible=True, label=f"Weight of {adapters[i]}", info=info, **own))
    return updates


def _number_or(value: Any, default: float | None) -> float | None:
    return value if as_number(value) is not None else default
