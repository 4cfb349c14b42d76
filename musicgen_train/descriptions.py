"""Texts that a user hands over: one per sample, "" where the music is free."""

from collections.abc import Sequence

from musicgen_train.arguments import listed
from musicgen_train.errors import UserError


def check_descriptions(descriptions: Sequence[str | None]) -> list[str]:
    """Descriptions as texts, None as ""."""
    if isinstance(descriptions, str):
        raise UserError(f"descriptions is one text: give a list, [{descriptions!r}]")
    texts = listed("descriptions", descriptions, "give a list of texts")
    if not texts:
        raise UserError("no descriptions: give at least one (it may be empty)")
    for i, text in enumerate(texts):
        if text is not None and not isinstance(text, str):
            raise UserError(f"description {i} is a {type(text).__name__}: give a text or None")
    return ["" if text is None else text.strip() for text in texts]


def check_negative(negative: str | Sequence[str | None] | None, n_samples: int) -> list[str] | None:
    """What the music should not be, one text per sample; None if nothing is said."""
    if negative is None:
        return None
    if isinstance(negative, str):
        negative = [negative] * n_samples
    remedy = "give a text, or a list of texts"
    texts = check_descriptions(listed("negative_descriptions", negative, remedy))
    if len(texts) != n_samples:
        raise UserError(
            f"{len(texts)} negative descriptions for {n_samples} samples: give one, or one each"
        )
    return texts if any(texts) else None
