"""What a fine-tuning may be called: its name is a folder's, and stands in commands."""

import re
import unicodedata

from musicgen_train.errors import UserError

LONGEST = 60  # letters


def checked_name(name: object) -> str:
    """The name, if the recipe takes it; else `UserError` with one that it would take."""
    if not isinstance(name, str) or not name.strip():
        raise UserError("the fine-tuning has no name: give it one")
    if slug(name) != name:
        raise UserError(
            f"the name {_brief(name)!r} cannot be a folder's: use letters, digits, - and _ only, "
            f"such as {slug(name)!r}"
        )
    return name


def slug(text: str) -> str:
    """A name like the text: letters and digits of any language, - and _, and dots inside."""
    text = unicodedata.normalize("NFC", text)
    name = re.sub(r"[^\w.-]+", "_", text).strip("._-")[:LONGEST].rstrip("._-")
    return f"{name}_" + "1" if name == "null" else name or "songs"  # which Hydra takes for none


def _brief(text: str) -> str:
    return text if len(text) <= 40 else f"{text[:39]}…"
