"""`xp.cfg`: the configuration inside audiocraft's checkpoints, a YAML text with references."""

import re
from pathlib import Path
from typing import Any

import yaml

from musicgen_train.errors import UserError

_REFERENCE = re.compile(r"\$\{([\w.]+)\}")


class XpConfig:
    """A stranger's `xp.cfg`, of which only plain values and references between them are read."""

    def __init__(self, text: Any, source: Path):
        self.source = source
        try:
            self.tree = yaml.safe_load(text) if isinstance(text, str) else None
        # A wrong number, truth or date is one of the last three to YAML.
        except (
            yaml.YAMLError, RecursionError, ValueError, LookupError, AttributeError, TypeError
        ) as error:  # fmt: skip
            reason = " ".join(str(error).split())
            raise UserError(f"{source}: xp.cfg is no plain YAML ({reason})") from None
        if not isinstance(self.tree, dict):
            raise UserError(f"{source}: xp.cfg is missing or no mapping: export the model again")

    def __getitem__(self, key: str) -> Any:
        """The value at a dotted key, `${other.key}` followed; a missing key is a `UserError`."""
        value = self._at(key)
        for _ in range(8):  # a reference may lead to another, but not for ever
            reference = _REFERENCE.fullmatch(value) if isinstance(value, str) else None
            if reference is None:
                break
            value = self._at(reference[1])
        if isinstance(value, str) and "${" in value:
            raise UserError(f"{self.source}: xp.cfg has {key}: {value}, which leads nowhere")
        return value

    def get(self, key: str, default: Any) -> Any:
        """The value at a dotted key, or the default where nothing is written."""
        return self[key] if self._find(key)[0] else default

    def names(self, section: str) -> set[str]:
        """The keys of a section."""
        found = self[section]
        if not isinstance(found, dict):
            raise UserError(f"{self.source}: {section} in xp.cfg is no section")
        return {str(name) for name in found}

    def _at(self, key: str) -> Any:
        found, value = self._find(key)
        if not found:
            raise UserError(f"{self.source}: {key} is missing in xp.cfg: export the model again")
        return value

    def _find(self, key: str) -> tuple[bool, Any]:
        value: Any = self.tree
        for name in key.split("."):
            if not isinstance(value, dict) or name not in value:
                return False, None
            value = value[name]
        return True, value
