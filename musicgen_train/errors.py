"""The one error that is shown to users without a traceback, and how it is made and shown."""

import functools
import sys
from collections.abc import Callable
from typing import ParamSpec, TypeVar

P = ParamSpec("P")
R = TypeVar("R")


class UserError(ValueError):
    """Something the user can mend; its message is one line that names the thing and the remedy."""


def reason_of(error: Exception) -> str:
    """The first line of what an error of another library says, or the name of its kind."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def exit_on_user_error(main: Callable[P, R]) -> Callable[P, R]:
    """Make an entry point print a `UserError` as `error: …` on stderr and exit with status 2."""

    @functools.wraps(main)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return main(*args, **kwargs)
        except UserError as error:
            print(f"error: {error}", file=sys.stderr)
            raise SystemExit(2) from None

    return wrapper
