"""The protocol record of a number as lines that people read."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from musicgen_train.evaluation.report.number_text import listed

LABELS = {
    "weights_sha256": "SHA-256 of the weights",
    "window_duration": "window, s",
    "hop_duration": "hop, s",
    "sample_rate": "sample rate, Hz",
    "dropped": "left out",
}
NAMED_CLIPS = 20


def record_rows(settings: Mapping[str, object]) -> list[tuple[str, str]]:
    """(what, how) of every setting, clips that were left out by their reasons at the end."""
    rows = [(label(key), _text(value)) for key, value in settings.items() if key != "dropped"]
    dropped = settings.get("dropped")
    if isinstance(dropped, Mapping) and dropped:
        rows += [(label("dropped"), text) for text in _by_reason(dropped)]
    return rows


def label(key: str) -> str:
    """A setting's name in words."""
    return LABELS.get(key, key.replace("_", " "))


def _text(value: object) -> str:
    if value is None:
        return "none"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.6g}"
    if isinstance(value, Mapping):
        return "; ".join(f"{label(str(key))}: {_text(inner)}" for key, inner in value.items())
    if isinstance(value, Sequence) and not isinstance(value, str):
        return ", ".join(
            " × ".join(map(_text, inner)) if isinstance(inner, list | tuple) else _text(inner)
            for inner in value
        )
    return str(value)


def _by_reason(dropped: Mapping[str, object]) -> list[str]:
    reasons: dict[str, list[str]] = {}
    for name, reason in dropped.items():
        reasons.setdefault(str(reason), []).append(name)
    return [
        f"{len(names)} ({reason}): {listed(names, NAMED_CLIPS)}"
        for reason, names in reasons.items()
    ]
