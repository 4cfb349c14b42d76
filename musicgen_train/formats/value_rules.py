"""Rules for the values in a stranger's file: types and ranges, checked before anything is built."""

import inspect
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief


class Rule(NamedTuple):
    """What a value should be, in words, and whether it is."""

    wanted: str
    fits: Callable[[Any], bool]


def whole(lowest: int, highest: int) -> Rule:
    """A whole number; true and false are none."""
    return Rule(
        f"a whole number from {lowest} to {highest}",
        lambda value: type(value) is int and lowest <= value <= highest,
    )


def number(lowest: float, highest: float) -> Rule:
    """A number, neither infinite nor NaN unless the bounds allow it."""
    return Rule(
        f"a number from {lowest:g} to {highest:g}",
        lambda value: type(value) in (int, float) and lowest <= value <= highest,
    )


TEXT = Rule("a text of 1 to 500 letters", lambda v: isinstance(v, str) and 0 < len(v) <= 500)
SECONDS = Rule(
    "a number of seconds above 0 and up to 3600",
    lambda value: type(value) in (int, float) and 0 < value <= 3600 and math.isfinite(value),
)


def check_arguments(
    built: Callable[..., Any], arguments: Any, rules: Mapping[str, Rule], part: str, source: Path
) -> dict[str, Any]:
    """`arguments` if they are all that `built` needs, nothing it lacks, and each by its rule.

    An argument that no rule is about is refused as unknown. `part` is what messages call it.
    """
    if not isinstance(arguments, dict):
        raise UserError(f"{source}: {part} is {brief(arguments)}, but should be a mapping")
    for name, value in arguments.items():
        if name not in rules:
            raise UserError(f"{source}: unknown option {brief(name)} of {part}: update "
                            "musicgen_train")  # fmt: skip
        if not rules[name].fits(value):
            raise UserError(
                f"{source}: {part} has {name} {brief(value)}, but should have {rules[name].wanted}"
            )
    for name, parameter in inspect.signature(built).parameters.items():
        if parameter.default is parameter.empty and name not in arguments:
            raise UserError(f"{source}: {part} lacks {name}: export the model again")
    return arguments
