"""From a file's language model config and weights, neither of which is trusted, to a model."""

import inspect
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.errors import UserError, reason_of
from musicgen_train.formats.files import brief
from musicgen_train.formats.plain_tensors import why_no_weight
from musicgen_train.formats.value_rules import Rule, whole
from musicgen_train.lm.model import LanguageModel


def _or_null(rule: Rule) -> Rule:
    return Rule(f"null or {rule.wanted}", lambda value: value is None or rule.fits(value))


_SIZE = whole(1, 2**20)
_PLACE = (
    "cross, prepend or sum",
    lambda value: isinstance(value, str) and value in ("cross", "prepend", "sum"),
)
_RULES: dict[str, tuple[str, Callable[[Any], bool]]] = {
    "n_q": whole(1, 1024),
    "card": _SIZE,
    "dim": (
        "an even number from 4 to 65536",
        lambda value: type(value) is int and 4 <= value <= 2**16 and value % 2 == 0,
    ),
    "num_heads": whole(1, 1024),
    "num_layers": whole(1, 1024),
    "delays": (
        "null or whole numbers from 0 to 1024",
        lambda value: value is None or (
            isinstance(value, list)
            and 1 <= len(value) <= 1024
            and all(type(delay) is int and 0 <= delay <= 1024 for delay in value)
        ),
    ),
    "text_dim": _or_null(_SIZE),
    "chroma_dim": _or_null(_SIZE),
    "fuse_text": _PLACE,
    "fuse_chroma": _PLACE,
    "chroma_length": _SIZE,
    "chroma_rate": ("null or a number above 0", lambda value: value is None or (
        type(value) in (int, float) and 0 < value < math.inf
    )),
    "ffn_mult": whole(1, 64),
    "dropout": (
        "a number from 0 to 1", lambda value: type(value) in (int, float) and 0 <= value <= 1
    ),
}  # fmt: skip


def check_lm_config(
    config: Any, source: Path, names: dict[str, str] | None = None
) -> dict[str, Any]:
    """Refuse arguments that `LanguageModel` lacks, or values it could not work with.

    `names` says what the file calls them, where it is not what `LanguageModel` does.
    """
    if not isinstance(config, dict):
        raise UserError(
            f"{source}: the language model's config is {type(config).__name__}, no mapping"
        )
    known = inspect.signature(LanguageModel).parameters
    for name in config:
        if name not in known:
            raise UserError(
                f"{source}: unknown language model option {brief(name)}: update musicgen_train"
            )
    for name, parameter in known.items():
        called = (names or {}).get(name, name)
        if name not in config:
            if parameter.default is parameter.empty:
                raise UserError(f"{source}: the language model option {called} is missing")
            continue
        wanted, fits = _RULES[name]
        if not fits(config[name]):
            raise UserError(f"{source}: {called} is {brief(config[name])}, but should be {wanted}")
    return config


def empty_lm(config: Any, source: Path, names: dict[str, str] | None = None) -> LanguageModel:
    """A language model on the meta device: shapes to compare with, and nothing allocated."""
    arguments = check_lm_config(config, source, names)
    try:
        with torch.device("meta"):
            return LanguageModel(**arguments)
    except (ValueError, RuntimeError, TypeError, AssertionError) as error:
        raise UserError(f"{source}: {reason_of(error)}") from None


def check_tensors(state: Any, expected: dict[str, Tensor], source: Path) -> None:
    """Refuse tensors that are missing, unknown, of another shape or no weights, by name."""
    for name, tensor in state.items():
        if name not in expected:
            raise _misfit(source, f"{brief(name)} is unknown")
        reason = why_no_weight(tensor)
        if reason:
            raise _misfit(source, f"{name} {reason}")
        if tensor.shape != expected[name].shape:
            shapes = f"{list(tensor.shape)}, but should be {list(expected[name].shape)}"
            raise _misfit(source, f"the shape of {name} is {shapes}")
    for name in expected:
        if name not in state:
            raise _misfit(source, f"{name} is missing")


def fill_lm(lm: LanguageModel, state: dict[str, Tensor], source: Path) -> LanguageModel:
    """Give an empty model the tensors of `state`, in float32; it is in evaluation mode then."""
    check_tensors(state, lm.state_dict(), source)
    lm.load_state_dict(state, assign=True)
    # What follows from the config is in no file, so it is on the meta device still.
    lm.offsets = torch.arange(lm.n_q)[:, None] * (lm.card + 1)
    assert not any(buffer.is_meta for buffer in lm.buffers()), "a buffer that nobody filled"
    # Half precision is for storage; the modules compute in float32 unless asked otherwise.
    return lm.float().requires_grad_(True).eval()


def build_lm(
    config: Any, state: dict[str, Tensor], source: Path, names: dict[str, str] | None = None
) -> LanguageModel:
    """A language model in evaluation mode with the tensors of `state`, in float32.

    config: the arguments of `LanguageModel`. Sizes are compared with the tensors before anything
    is allocated; what does not fit is a `UserError` that names `source`.
    """
    return fill_lm(empty_lm(config, source, names), state, source)


def _misfit(source: Path, what: str) -> UserError:
    return UserError(f"{source}: the weights do not fit the config: {what}")
