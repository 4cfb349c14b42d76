"""Texts of what a base can do before it is fine-tuned: every pair of 12 instruments and 8 styles.

They are the labels that the judge hears. Two thirds are for music against forgetting, the others,
which training never sees, for measuring what was forgotten.
"""

import csv
from pathlib import Path
from typing import NamedTuple

FILE = Path(__file__).with_name("general_prompts.csv")


class GeneralPrompt(NamedTuple):
    """A text, and what it asks for."""

    text: str
    instrument: str
    genre: str


def general_prompts(use: str) -> list[GeneralPrompt]:
    """The texts for one use, "prior" or "control", so ordered that the first ones are all sorts."""
    assert use in ("prior", "control"), use
    with FILE.open(encoding="utf-8", newline="") as file:
        rows = [row for row in csv.DictReader(file) if row["use"] == use]
    return [GeneralPrompt(row["text"], row["instrument"], row["genre"]) for row in rows]
