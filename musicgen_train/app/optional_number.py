"""A number that may be left out: a text field, since Gradio's numbers become 0 when empty."""

import math
from typing import Any

import gradio as gr

from musicgen_train.errors import UserError


def optional_number(
    label: str, placeholder: str, elem_id: str, info: str | None = None
) -> gr.Textbox:
    """A field for a number; placeholder: what is done without one."""
    return gr.Textbox(
        "", label=label, placeholder=placeholder, info=info, elem_id=elem_id, max_lines=1,
        max_length=30, min_width=140,
    )  # fmt: skip


def number_in(text: Any, name: str) -> float | None:
    """The number that was typed, None for an empty field; `UserError` if it is none."""
    if text is None or not str(text).strip():
        return None
    try:
        number = float(str(text).strip().replace(",", "."))
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise UserError(f"{name}: give a number, or leave it empty")
    return number


def whole_in(text: Any, name: str) -> int | None:
    """As `number_in`, for whole numbers, of which not a digit is lost."""
    try:
        return int(str(text).strip())
    except ValueError:
        number = number_in(text, name)
    if number is None or number.is_integer():
        return None if number is None else int(number)
    raise UserError(f"{name} {number:g}: give a whole number, or leave it empty")


def as_typed(value: float | None) -> str:
    """What is in the field for a value."""
    return "" if value is None else str(value)
