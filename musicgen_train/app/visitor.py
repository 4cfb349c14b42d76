"""Who is asking: a random token in the browser, by which a reload finds its jobs and takes."""

import re
import secrets

from musicgen_train.errors import UserError

_TOKEN = re.compile(r"[0-9a-f]{64}\Z")
STORAGE_KEY = "musicgen_train-visitor"


def known_or_new(token: object) -> str:
    """The token that a browser kept, if it is one; else a new one, which nobody can guess."""
    if isinstance(token, str) and _TOKEN.match(token):
        return token
    return secrets.token_hex(32)


def checked(token: object) -> str:
    """The token of a visitor who is known; `UserError` for whoever came before having one."""
    if token != known_or_new(token):
        raise UserError("the page is not ready yet: try again, or reload it")
    return str(token)
