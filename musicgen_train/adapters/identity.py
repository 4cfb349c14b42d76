"""Which language model an adapter belongs to, however that model was stored.

A digest of all weights would change when they are rounded to half precision, and so would one of
rounded weights: a value that lies on the edge between two numbers of a coarse type is rounded
differently after it was rounded to another type. So the identity is a sample of each tensor's
values, and two are the same if all of them agree as closely as half precision does. A model that
was trained further, or that an adapter was merged into, differs in nearly every sample.
"""

import hashlib
import json
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.value_rules import number
from musicgen_train.lm.model import LanguageModel

_SAMPLES = 8  # of each tensor
_SHAPE = ("n_q", "card", "dim", "num_heads", "num_layers", "text_dim", "chroma_dim")
_VALUE = number(-1e38, 1e38)
_RELATIVE, _ABSOLUTE = 2**-8, 1e-7  # bfloat16 rounds by half the first, float16 drops 3e-8


class BaseIdentity(NamedTuple):
    """What is known of a language model without having it."""

    shape: dict[str, Any]  # the options that decide what its weights mean
    samples: dict[str, list[float]]  # tensor: some of its values

    @property
    def code(self) -> str:
        """12 hex digits to tell models apart by; rounded weights have others."""
        samples = {name: [v.hex() for v in values] for name, values in self.samples.items()}
        content = json.dumps([self.shape, samples], sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:12]

    def is_of(self, other: "BaseIdentity") -> bool:
        """Whether both are of the same weights, but for the rounding of half precision."""
        return (
            self.shape == other.shape
            and self.samples.keys() == other.samples.keys()
            and all(
                _close(a, b)
                for name, values in self.samples.items()
                for a, b in zip(values, other.samples[name], strict=True)
            )
        )


def identity_of(lm: LanguageModel) -> BaseIdentity:
    """The identity of a language model whose weights are its own: not rounded, nothing merged."""
    state = {name: tensor.detach().flatten() for name, tensor in lm.state_dict().items()}
    picked = torch.stack([_picked(tensor) for tensor in state.values()]).tolist()
    return BaseIdentity(shape_of(lm), dict(zip(state, picked, strict=True)))


def shape_of(lm: LanguageModel) -> dict[str, Any]:
    """The part of the identity that a model on the meta device has, too."""
    shape = {name: lm.config[name] for name in _SHAPE}
    shape["delays"] = list(lm.delays)
    for condition in ("text", "chroma"):  # where a condition enters, if there is one
        if lm.config[f"{condition}_dim"]:
            shape[f"fuse_{condition}"] = lm.config[f"fuse_{condition}"]
    return shape


def describe_identity(identity: BaseIdentity) -> dict[str, Any]:
    """As JSON."""
    return {"identity": identity.code, "shape": identity.shape, "samples": identity.samples}


def read_identity(section: Any, source: Path) -> BaseIdentity:
    """From JSON, which is not trusted."""
    section = section if isinstance(section, dict) else {}
    shape, samples = section.get("shape"), section.get("samples")
    if not isinstance(shape, dict) or not isinstance(samples, dict) or not samples:
        raise UserError(f"{source} does not say which model it belongs to: export it again")
    for name, values in samples.items():
        if (
            not isinstance(values, list)
            or len(values) != _SAMPLES
            or not all(map(_VALUE.fits, values))
        ):
            raise UserError(f"{source}: the samples of {brief(name)} are not {_SAMPLES} numbers: "
                            "export it again")  # fmt: skip
    return BaseIdentity(shape, {name: [float(v) for v in samples[name]] for name in samples})


def check_base(wanted: BaseIdentity, wanted_name: str, base: BaseIdentity, source: Path) -> None:
    """Refuse a model that an adapter was not trained on."""
    if not wanted.is_of(base):
        raise UserError(
            f"{source} belongs to another model ({wanted_name}, {wanted.code}) than this one "
            f"({base.code}): load it on that"
        )


def _picked(flat: Tensor) -> Tensor:
    return flat[torch.tensor(sampled_places(len(flat)), device=flat.device)].float()


def sampled_places(n_values: int) -> list[int]:
    """Where a tensor of so many values is sampled: multiples of the golden ratio, modulo 1."""
    return [((2 * i + 1) * 2654435769 % 2**32) * n_values >> 32 for i in range(_SAMPLES)]


def _close(a: float, b: float) -> bool:
    return abs(a - b) <= _RELATIVE * max(abs(a), abs(b)) + _ABSOLUTE
