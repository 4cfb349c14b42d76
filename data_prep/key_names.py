"""One name for each of the 24 keys, whatever way somebody spelled it."""

import re

MAJOR = ("C", "Db", "D", "Eb", "E", "F", "F#", "G", "Ab", "A", "Bb", "B")
MINOR = ("C", "C#", "D", "Eb", "E", "F", "F#", "G", "G#", "A", "Bb", "B")
_NATURALS = {"c": 0, "d": 2, "e": 4, "f": 5, "g": 7, "a": 9, "b": 11}
_SHIFTS = {"#": 1, "♯": 1, "sharp": 1, "b": -1, "♭": -1, "flat": -1}
_SPELLED = re.compile(
    r"([A-Ga-g])[\s-]?(#|♯|b|♭|(?i:sharp|flat))?\s*((?i:major|maj|dur|minor|min|moll)|M|m)?\.?"
)
_CAMELOT = re.compile(r"(1[0-2]|[1-9])([ABab])")  # the wheel of DJ programs: 8A is A minor


def key_name(pitch_class: int, minor: bool) -> str:
    """The key's name, "C minor"; pitch_class counts semitones above C."""
    return f"{(MINOR if minor else MAJOR)[pitch_class % 12]} {'minor' if minor else 'major'}"


def parse_key(text: str) -> str | None:
    """The name of a key given as "Am", "F# minor", "bb maj", "C" or "8A"; None if it is no key."""
    if found := _CAMELOT.fullmatch(text.strip()):
        number, minor = int(found[1]), found[2] in "Aa"
        return key_name((number * 7 + (1 if minor else 4)) % 12, minor)
    found = _SPELLED.fullmatch(text.strip())
    if not found:
        return None
    note, shift, mode = found[1].lower(), (found[2] or "").lower(), found[3] or ""
    minor = mode == "m" or mode.lower().startswith(("min", "mol"))
    return key_name(_NATURALS[note] + _SHIFTS.get(shift, 0), minor)
