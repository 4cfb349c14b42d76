"""Arguments of the public API: numbers and lists, refused in one line if they are not."""

import math
from collections.abc import Callable, Iterable
from numbers import Integral, Real
from typing import Any

from musicgen_train.errors import UserError


def number(
    name: str,
    value: object,
    fits: Callable[[float], bool],
    remedy: str,
    *,
    unit: str = "",
    whole: bool = False,
) -> float:
    """The value as a float; refused if it is no number, NaN, or does not fit.

    numpy's numbers are numbers; truth values, texts and tensors are none.
    """
    if not isinstance(value, Integral if whole else Real) or isinstance(value, bool):
        raise UserError(f"{name} {shown(value)}: {remedy}")
    try:
        given = float(value)
    except OverflowError:
        given = math.inf
    if not fits(given):
        raise UserError(f"{name} {given:g}{unit}: {remedy}")
    return given


def shown(value: object) -> str:
    """A value as one short line."""
    line = " ".join(repr(value).split())
    return line if len(line) <= 60 else f"{line[:59]}…"


def listed(name: str, values: Iterable[Any], remedy: str = "give a list") -> list[Any]:
    """The values as a list; refused if they are one text, or no several things at all."""
    if not isinstance(values, str | bytes) and isinstance(values, Iterable):
        try:
            return list(values)
        except TypeError:  # as a tensor without dimensions
            pass
    raise UserError(f"{name} is a {type(values).__name__}: {remedy}")
