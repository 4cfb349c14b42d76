"""What an adapter does to a matrix: LoRA (Hu et al. 2021) and DoRA (Liu et al. 2024)."""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.plain_tensors import why_no_weight
from musicgen_train.formats.value_rules import Rule, number, whole
from musicgen_train.lm.model import LanguageModel

_TENSOR = re.compile(r"(.+)\.(lora_A\.weight|lora_B\.weight|lora_magnitude_vector)")


class LowRank(NamedTuple):
    """The change of one matrix [out, in]."""

    down: Tensor  # [rank, in]; peft calls it A
    up: Tensor  # [out, rank]; B
    scale: float
    magnitude: Tensor | None  # [out] lengths of the rows, of DoRA; None: LoRA

    def change(self, weight: Tensor) -> Tensor:
        """What is added to a matrix [out, in], in float32 and where the matrix is."""
        down, up = self.down.to(weight.device).float(), self.up.to(weight.device).float()
        change = self.scale * (up @ down)
        if self.magnitude is None:
            return change
        turned = weight + change
        lengths = torch.linalg.norm(turned, dim=1).clamp_min(torch.finfo(torch.float32).tiny)
        factor = self.magnitude.to(weight.device).float() / lengths
        return factor[:, None] * turned - weight


class Kind(NamedTuple):
    """What decides which tensors an adapter has."""

    rank: int
    scale: float
    dora: bool


# What decides the same in a training's settings and in its checkpoints.
SETTINGS: dict[str, Rule] = {
    "kind": Rule("lora or dora", lambda v: isinstance(v, str) and v in ("lora", "dora")),
    "rank": whole(1, 4096),
    "alpha": number(1e-6, 1e6),
}


def kind_of(settings: dict[str, Any], source: Path) -> Kind:
    """From a checkpoint, which is not trusted."""
    for name, rule in SETTINGS.items():
        if not rule.fits(settings.get(name)):
            raise UserError(
                f"{source}: the adapter's {name} is {brief(settings.get(name))}, but should be "
                f"{rule.wanted}"
            )
    return Kind(settings["rank"], settings["alpha"] / settings["rank"], settings["kind"] == "dora")


def linear_sizes(lm: LanguageModel) -> dict[str, tuple[int, int]]:
    """The matrices that an adapter can change: their names, and their sizes (out, in)."""
    with torch.device("meta"):  # prepared for generation, the model itself may have packed ones
        empty = LanguageModel(**lm.config)
    return {
        name: (module.out_features, module.in_features)
        for name, module in empty.named_modules()
        if isinstance(module, nn.Linear)
    }


def matrices_in(
    shapes: Mapping[str, Sequence[int]],
    kind: Kind,
    linears: Mapping[str, tuple[int, int]],
    source: Path,
) -> list[str]:
    """The matrices that tensors of these names and shapes change; refuses what is not complete."""
    parts = {name: _TENSOR.fullmatch(name) for name in shapes}
    for name, part in parts.items():
        if part is None or part[1] not in linears:
            raise UserError(f"{source}: {brief(name)} is of no matrix of the model: it does not "
                            "fit")  # fmt: skip
    matrices = sorted({part[1] for part in parts.values() if part is not None})
    if not matrices:
        raise UserError(f"{source} changes nothing: it holds no matrices")
    for matrix in matrices:
        n_out, n_in = linears[matrix]
        wanted = {"lora_A.weight": [kind.rank, n_in], "lora_B.weight": [n_out, kind.rank]}
        if kind.dora:
            wanted["lora_magnitude_vector"] = [n_out]
        for part, shape in wanted.items():
            found = shapes.get(f"{matrix}.{part}")
            if found is None or list(found) != shape:
                told = "is missing" if found is None else f"is {list(found)}, not {shape}"
                raise UserError(f"{source}: {matrix}.{part} {told}: copy or export it again")
        if not kind.dora and f"{matrix}.lora_magnitude_vector" in shapes:
            raise UserError(f"{source}: {matrix} has a magnitude, but use_dora is not true")
    return matrices


def low_rank(
    state: Mapping[str, Tensor], kind: Kind, linears: Mapping[str, tuple[int, int]], source: Path
) -> dict[str, LowRank]:
    """The changes that tensors under peft's names stand for; none is trusted."""
    matrices = matrices_in({n: t.shape for n, t in state.items()}, kind, linears, source)
    for name, tensor in state.items():
        reason = why_no_weight(tensor)
        if reason is None and not bool(tensor.isfinite().all()):
            reason = "holds infinite values, or values that are no numbers"
        if reason:
            raise UserError(f"{source}: {name} {reason}: train it again")
    return {
        name: LowRank(
            state[f"{name}.lora_A.weight"],
            state[f"{name}.lora_B.weight"],
            kind.scale,
            state[f"{name}.lora_magnitude_vector"] if kind.dora else None,
        )
        for name in matrices
    }
