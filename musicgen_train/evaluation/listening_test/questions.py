"""What listeners are asked, after the human studies of MusicGen (Copet et al. 2023, section 4)."""

from __future__ import annotations

from typing import NamedTuple

LOWEST, HIGHEST = 1, 100  # of a rating


class Question(NamedTuple):
    """One slider below each clip."""

    key: str
    title: str
    asks: str
    lowest: str  # what 1 means
    highest: str  # what 100 means


QUESTIONS = {
    question.key: question
    for question in (
        Question(
            "overall", "Overall quality", "How good does it sound as music?", "bad", "excellent"
        ),
        Question(
            "relevance",
            "Fits the text",
            "How well does it match the description?",
            "not at all",
            "perfectly",
        ),
        Question(
            "melody",
            "Follows the melody",
            "How well does it follow the tune of the melody?",
            "not at all",
            "exactly",
        ),
    )
}
