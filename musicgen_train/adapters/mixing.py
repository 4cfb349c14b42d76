"""Adapters heard at run time: any number of them, mixed by weights, in a model's own matrices.

A matrix W becomes W + sum of weight * change over the adapters, in float32, always from the W that
it was before the first of them. So nothing accumulates, the order does not matter, and a model
without adapters is what it was, bit for bit. W is kept in memory as long as an adapter is loaded
that changes it, whatever its weight.
"""

import math
from collections.abc import Mapping
from pathlib import Path
from typing import cast

import torch
from torch import Tensor, nn

from musicgen_train.adapters.adapter_file import AdapterRecord, read_adapter
from musicgen_train.adapters.identity import check_base, identity_of
from musicgen_train.adapters.low_rank import LowRank
from musicgen_train.arguments import number, shown
from musicgen_train.errors import UserError
from musicgen_train.lm.model import LanguageModel
from musicgen_train.lm.packing import Int8Linear, PackedLinear, to_linear

Kept = Tensor | PackedLinear | Int8Linear  # a plain weight, or a packed one as it is


class AdapterMix:
    """The adapters of one language model, which may be prepared for generation, or be later.

    It is made while the model's weights are its own: what they are is what adapters must be of.
    """

    def __init__(self, lm: LanguageModel) -> None:
        self.lm = lm
        self.weights: dict[str, float] = {}
        self._records: dict[str, AdapterRecord] = {}
        self._changes: dict[str, dict[str, LowRank]] = {}
        self._kept: dict[str, Kept] = {}
        # Rounded, the weights are no model's that an adapter could be of.
        self._base = identity_of(lm) if lm.rounded_to is None else None

    def load(self, path: str | Path, weight: float = 1.0, name: str | None = None) -> str:
        """Add an adapter to the mix; return its name, which is by default the one it was given."""
        weight = checked_weight(f"adapter {shown(str(path))}: weight", weight)
        adapter = read_adapter(path)
        name = adapter.record.name if name is None else name
        if name in self.weights:
            raise UserError(f"an adapter {shown(name)} is loaded already: give this one a name")
        if self._base is None:
            raise UserError(
                f"{path}: this model was rounded to {self.lm.rounded_to} before: load it again"
            )
        check_base(adapter.record.base, adapter.record.base_name, self._base, adapter.folder)
        self._changes[name] = adapter.matrices(self.lm)
        self._records[name] = adapter.record
        self.weights[name] = weight
        self.apply()
        return name

    def told(self) -> str:
        """The adapters that are heard and their weights, under the names that they came with."""
        return ", ".join(
            f"{self._records[name].name}={weight:g}"
            for name, weight in self.weights.items()
            if weight
        )

    def set(self, weights: Mapping[str, float]) -> None:
        """Mix by these weights; adapters that are not named are not heard, but stay loaded."""
        for name in weights:
            self._check_loaded(name)
        given = {n: checked_weight(f"adapter {n!r}: weight", w) for n, w in weights.items()}
        self.weights = {name: given.get(name, 0.0) for name in self.weights}
        self.apply()

    def remove(self, *names: str) -> None:
        """Forget these adapters, or all if none is named."""
        for name in names:
            self._check_loaded(name)
        for name in names or tuple(self.weights):
            self.weights.pop(name, None)
            self._changes.pop(name, None)
            self._records.pop(name, None)
        self.apply()

    @torch.no_grad()
    def apply(self) -> None:
        """Give every matrix what the adapters make of it, as the model is prepared now."""
        loaded = {matrix for changes in self._changes.values() for matrix in changes}
        for matrix in sorted(loaded | self._kept.keys()):
            if matrix not in self._kept:
                self._kept[matrix] = _keep(self.lm.get_submodule(matrix))
            # What is rounded or packed once more is what it was.
            weight = _plain(self._kept[matrix]).to(self.lm.device)
            self._write(matrix, self._mixed(matrix, weight))
            if matrix not in loaded:
                del self._kept[matrix]

    def _mixed(self, matrix: str, weight: Tensor) -> Tensor:
        """What the adapters make of a matrix."""
        total: Tensor | None = None
        for name, share in sorted(self.weights.items()):
            if share and matrix in self._changes[name]:
                change = share * self._changes[name][matrix].change(weight)
                total = change if total is None else total + change
        return weight if total is None else weight + total

    def _write(self, matrix: str, weight: Tensor) -> None:
        """Put a float32 weight into the model as it holds such a matrix."""
        current = self.lm.get_submodule(matrix)
        if isinstance(current, PackedLinear):
            self._replace(matrix, PackedLinear(to_linear(weight), current.dtype))
        elif isinstance(current, Int8Linear):
            self._replace(matrix, Int8Linear(to_linear(weight)))
        else:
            # In place, where compiled code and captured graphs look for it.
            cast(nn.Linear, current).weight.copy_(weight)

    def _replace(self, matrix: str, module: nn.Module) -> None:
        parent, _, name = matrix.rpartition(".")
        setattr(self.lm.get_submodule(parent), name, module)

    def _check_loaded(self, name: str) -> None:
        if name not in self.weights:
            loaded = ", ".join(self.weights) or "none"
            raise UserError(f"no adapter {shown(name)} is loaded (there are: {loaded})")


def checked_weight(name: str, weight: object) -> float:
    """A weight to mix with: any number, also 0 and below."""
    return number(name, weight, math.isfinite, "give a number, such as 0.7")


def _keep(module: nn.Module) -> Kept:
    """What gives a matrix back bit for bit; a plain one is copied to the CPU, where room is."""
    if isinstance(module, PackedLinear | Int8Linear):
        return module
    return cast(nn.Linear, module).weight.detach().to("cpu", copy=True)


def _plain(kept: Kept) -> Tensor:
    """The matrix in float32."""
    return (kept if isinstance(kept, Tensor) else kept.unpack().weight.detach()).float()
