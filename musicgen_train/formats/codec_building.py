"""From a file's codec config and weights, neither of which is trusted, to a codec."""

import inspect
import math
import re
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.folding import FoldedEncodec
from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.plain_tensors import why_no_weight
from musicgen_train.formats.value_rules import number, whole

# torch named the two halves of weight norm otherwise before 2.0, and transformers too.
_OLD_NAMES = (
    (r"\.weight_g$", ".parametrizations.weight.original0"),
    (r"\.weight_v$", ".parametrizations.weight.original1"),
)
# What the quantizer counts, which some write as whole numbers.
_COUNTED = (".inited", ".cluster_size")

_SIZE = whole(1, 2**20)
_DEPTH = whole(0, 64)
_TRUTH = ("true or false", lambda value: type(value) is bool)
_SPECIAL = {
    "n_q": whole(1, 1024),
    "n_residual_layers": _DEPTH,
    "lstm": _DEPTH,
    "ratios": (
        "1 to 16 whole numbers from 1 to 1024",
        lambda value: (
            isinstance(value, list)
            and 1 <= len(value) <= 16
            and all(type(r) is int and 1 <= r <= 1024 for r in value)
        ),
    ),
    "trim_right_ratio": number(0, 1),
    "decay": number(0, 1),
    "dead_code_threshold": number(0, math.inf),
    "chunk_overlap": number(0, 0.99),
    "chunk_duration": ("null or a number of seconds above 0", lambda value: (
        value is None or (type(value) in (int, float) and 0 < value < math.inf)
    )),
    "frame_rate": ("null or a number", lambda value: value is None or type(value) in (int, float)),
}  # fmt: skip


def check_codec_config(config: dict[str, Any], source: Path, names: dict[str, str]) -> None:
    """Refuse arguments that `Encodec` lacks, or values it could not work with, or not in hours.

    `names` says what the file calls them, where it is not what `Encodec` does.
    """
    known = inspect.signature(Encodec).parameters
    for name in config:
        if name not in known:
            raise UserError(f"{source}: unknown codec option {name!r}: update musicgen_train")
    for name, parameter in known.items():
        called = names.get(name, name)
        if name not in config:
            if parameter.default is parameter.empty:
                raise UserError(f"{source}: the codec option {called} is missing")
            continue
        wanted, fits = _SPECIAL.get(name) or {bool: _TRUTH, int: _SIZE}.get(
            parameter.annotation, ("a text", lambda value: isinstance(value, str))
        )
        if not fits(config[name]):
            raise UserError(f"{source}: {called} is {brief(config[name])}, but should be {wanted}")


def build_codec(
    config: Any, state: dict[str, Tensor], source: Path, names: dict[str, str] | None = None
) -> Encodec:
    """A codec in evaluation mode with the tensors of `state`, in float32.

    Names of weight norm from before torch 2.0 are taken as well. `names` says what the file calls
    the options.
    """
    if not isinstance(config, dict):
        raise UserError(f"{source}: the codec's config is {type(config).__name__}, no mapping")
    check_codec_config(config, source, names or {})
    try:
        with torch.device("meta"):  # nothing is allocated before the shapes have been compared
            codec = Encodec(**config)
    except (ValueError, RuntimeError, TypeError) as error:
        raise UserError(f"{source}: {str(error).splitlines()[0]}") from None
    renamed = {}
    for name, tensor in state.items():
        for old, new in _OLD_NAMES:
            name = re.sub(old, new, name)
        reason = why_no_weight(tensor, counts=name.endswith(_COUNTED))
        if reason:
            raise UserError(f"{source}: the weights do not fit the config: {name} {reason}")
        # Half precision is for storage; the modules compute in float32 unless asked otherwise.
        renamed[name] = tensor.float()
    try:
        codec.load_state_dict(renamed, assign=True)
    except RuntimeError as error:
        first = str(error).splitlines()[1].strip() if "\n" in str(error) else str(error)
        raise UserError(f"{source}: the weights do not fit the config: {first}") from None
    return codec.eval()


def check_exportable(codec: Encodec) -> None:
    """Refuse what neither audiocraft nor transformers would build."""
    config = codec.config
    check_savable(codec)
    if config["causal"] and config["norm"] == "group":
        raise UserError("a causal codec with group norm exists only here: save it as native")
    if not config["causal"] and config["trim_right_ratio"] != 1:
        raise UserError(
            f"trim_right_ratio {config['trim_right_ratio']} of a codec that is not causal exists "
            "only here (where it has no effect): train with 1, or save it as native"
        )


def check_savable(codec: Encodec) -> None:
    """Refuse a folded codec: its weight norm, which training goes on from, is gone."""
    if isinstance(codec, FoldedEncodec):
        raise UserError("this codec was folded for inference: save the codec it was folded from")
