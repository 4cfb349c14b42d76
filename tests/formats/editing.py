"""Change what a checkpoint's description says, to see whether readers notice."""

from collections.abc import Sequence
from typing import Any


def put(tree: dict[str, Any], keys: Sequence[str], value: Any) -> None:
    """Set the value deep inside a nested mapping; `...` drops it."""
    *sections, name = keys
    for section in sections:
        tree = tree[section]
    tree[name] = value
    if value is ...:
        del tree[name]
