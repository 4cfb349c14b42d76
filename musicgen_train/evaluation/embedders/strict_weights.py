"""Weights of a stranger's file into a model: all that it needs, and no others."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from torch import Tensor, nn

from musicgen_train.errors import UserError


def fill(model: nn.Module, state: Mapping[str, Tensor], path: Path, free: re.Pattern[str]) -> None:
    """Load weights in float32; UserError names the first that is missing, unknown or misshapen.

    free: names that may be there or not, and are not loaded: buffers that a model makes itself.
    """
    wanted = {name: t.shape for name, t in model.state_dict().items() if not free.match(name)}
    given = {name: t for name, t in state.items() if not free.match(name)}
    misshapen = {n for n in wanted if n in given and given[n].shape != wanted[n]}
    for names, fault in (
        (wanted.keys() - given.keys(), "lacks the weight"),
        (given.keys() - wanted.keys(), "has the unknown weight"),
        (misshapen, "has another shape of"),
    ):
        if names:
            raise UserError(f"{path} {fault} {min(names)}: get the model again")
    model.load_state_dict(given, strict=False)
