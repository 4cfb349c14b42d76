"""Weights of a stranger's file into a model: all that it needs, and no others."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.plain_tensors import why_no_weight


def weights_by_name(content: Any, path: Path, remedy: str) -> dict[str, Tensor]:
    """The content of a weights file, if it is tensors by name; UserError ending with `remedy`."""
    if not isinstance(content, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in content.items()
    ):
        raise UserError(f"{path} holds no weights by name: {remedy}")
    return content


def fill(
    model: nn.Module,
    state: Mapping[str, Tensor],
    path: Path,
    remedy: str,
    free: re.Pattern[str] | None = None,
) -> None:
    """Load weights in the model's own types; it may be on the meta device.

    UserError names the first weight that is missing, unknown or another, and ends with `remedy`.
    free: names that may be there or not, and are not loaded: buffers that a model makes itself.
    """
    wanted, given = (
        {name: tensor for name, tensor in tensors.items() if not (free and free.match(name))}
        for tensors in (model.state_dict(), state)
    )
    fault = next(_faults(wanted, given), None)
    if fault:
        raise UserError(f"{path} {fault}: {remedy}")
    typed = {name: given[name].to(wanted[name].dtype) for name in wanted}
    on_meta = any(tensor.is_meta for tensor in wanted.values())
    model.load_state_dict(typed, strict=False, assign=on_meta)


def _faults(wanted: Mapping[str, Tensor], given: Mapping[str, Tensor]) -> Iterator[str]:
    for name in wanted:
        if name not in given:
            yield f"lacks the weight {name}"
    for name in given:
        if name not in wanted:
            yield f"has the unknown weight {brief(name)}"
    for name, tensor in wanted.items():
        found = given[name]
        if found.shape != tensor.shape:
            yield f"has another shape of {name}: {list(found.shape)}, not {list(tensor.shape)}"
        if reason := why_no_weight(found, counts=not tensor.is_floating_point()):
            yield f"has something else for {name}, which {reason}"
