"""What the fields of `dataset.json` must be, so that nothing read later stumbles over them."""

from collections.abc import Callable
from typing import Any, NamedTuple


class _Kind(NamedTuple):
    name: str
    fits: Callable[[Any], bool]


def _count(highest: int) -> _Kind:
    """A whole number from 1 on; Python's bool is an int."""
    return _Kind(f"a count up to {highest}", lambda v: type(v) is int and 1 <= v <= highest)


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and 0 < len(value) <= 256 and value.isprintable()


def _is_positive(value: Any) -> bool:
    return type(value) in (int, float) and 0 < value < 1e9  # NaN is neither


def _is_shard(value: Any) -> bool:
    if not isinstance(value, dict):
        return False
    size = value.get("bytes")
    return type(size) is int and 0 <= size < 1 << 60 and _is_text(value.get("sha256"))


_TEXT = _Kind("printable text", _is_text)
_POSITIVE = _Kind("a number above 0", _is_positive)
_FIELDS = {
    "fingerprint": _TEXT,
    "shards": _Kind(
        "a list of shards with bytes and sha256",
        lambda v: isinstance(v, list) and all(map(_is_shard, v)),
    ),
    "members": _Kind("a list of names", lambda v: isinstance(v, list) and all(map(_is_text, v))),
    "codec_identity": _Kind("printable text or null", lambda v: v is None or _is_text(v)),
    "sample_rate": _count(10**7),
    "channels": _count(1000),
    "segment_duration": _POSITIVE,
    "frame_rate": _POSITIVE,
    "n_q": _count(1000),
    "card": _count(1 << 16),
    "chroma": _Kind(
        "a mapping with a hop above 0",
        lambda v: v is None or (isinstance(v, dict) and _is_positive(v.get("hop"))),
    ),
}


def check_info(info: dict[str, Any]) -> None:
    """Refuse fields that are not what they should be; of those absent, only the first two.

    Raises ValueError.
    """
    for name, kind in _FIELDS.items():
        needed = name in ("fingerprint", "shards")
        if (needed or name in info) and not kind.fits(info.get(name)):
            raise ValueError(f"{name} is {info.get(name)!r:.60}, not {kind.name}")


def check_has(info: dict[str, Any], names: list[str]) -> None:
    """Refuse an absence; raises ValueError."""
    for name in names:
        if info.get(name) is None:
            raise ValueError(f"it gives no {name}")
