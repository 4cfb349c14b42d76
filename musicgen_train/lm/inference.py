"""Make a language model ready to generate fast, from outside: weights, compilation, graphs."""

from collections.abc import Callable
from typing import cast

import torch
from torch import nn

from musicgen_train.lm.acceleration import Acceleration
from musicgen_train.lm.model import LanguageModel
from musicgen_train.lm.packing import Int8Linear, PackedLinear, can_pack, rounded

WEIGHTS = ("float32", "bfloat16", "float16", "int8")


def prepare(
    lm: LanguageModel, *, weights: str = "float32", compile: bool = False, cuda_graphs: bool = False
) -> None:
    """Change a model in place for generation only; `restore` undoes it, but for rounding.

    weights: float32, bfloat16, float16 (GPU) or int8 (CPU; weight only, per output channel). On a
    CPU the matrices are packed as oneDNN wants them and all else stays float32; on a GPU the whole
    model is cast. Once rounded, a model cannot be saved, nor after `restore`. compile, cuda_graphs:
    see `Acceleration`. What the device cannot do raises ValueError.
    """
    if weights not in WEIGHTS:
        raise ValueError(f"weights {weights!r}: choose one of {', '.join(WEIGHTS)}")
    if hasattr(lm, "peft_config"):
        raise ValueError("an adapter lies beside the model's weights: put it into them, `merged`")
    on_cpu = lm.device.type == "cpu"
    if cuda_graphs and lm.device.type != "cuda":
        raise ValueError(f"CUDA graphs need a GPU: the model is on the {lm.device.type}")
    if weights == "float16" and on_cpu:
        raise ValueError("weights 'float16' need a GPU: choose bfloat16 on a CPU")
    if weights == "int8" and not on_cpu:
        raise ValueError("weights 'int8' are for CPUs: choose bfloat16 on a GPU")
    restore(lm)
    lm.requires_grad_(False).eval()
    if weights == "int8":
        replace_linears(lm, Int8Linear)
    else:
        dtype = getattr(torch, weights)
        if on_cpu and can_pack(dtype) and not compile:  # a compiler cannot look into packed weights
            replace_linears(lm, lambda linear: PackedLinear(linear, dtype))
        else:
            lm.to(dtype)
    if weights != "float32":
        lm.rounded_to = weights
    if compile or cuda_graphs:
        lm.acceleration = Acceleration(compile, cuda_graphs)


def restore(lm: LanguageModel) -> None:
    """Give a prepared model plain float32 weights again, to move it or train it.

    What rounding took from them is lost.
    """
    lm.acceleration = None
    for parent, name in places(lm, PackedLinear, Int8Linear):
        packed = cast(PackedLinear | Int8Linear, parent.get_submodule(name))
        setattr(parent, name, packed.unpack())
    lm.float().requires_grad_(True)


def check_unrounded(lm: LanguageModel) -> None:
    """Refuse a model that `prepare` or a cast has rounded; whoever writes a model asks this."""
    if lm.rounded_to is not None:
        raise rounded(lm.rounded_to)
    for parameter in lm.parameters():
        if parameter.dtype in (torch.bfloat16, torch.float16):
            raise rounded(str(parameter.dtype).removeprefix("torch."))


def replace_linears(lm: LanguageModel, make: Callable[[nn.Linear], nn.Module]) -> None:
    """Swap the matrices that every step reads: those of the layers, and the heads."""
    for parent, name in places(lm, nn.Linear):
        if parent is not lm.fuser:
            setattr(parent, name, make(cast(nn.Linear, parent.get_submodule(name))))


def places(lm: LanguageModel, *kinds: type[nn.Module]) -> list[tuple[nn.Module, str]]:
    """Where modules of these kinds are: their parents and names.

    Not they themselves: the list would keep them all in memory while they are replaced.
    """
    return [
        (parent, name)
        for parent in lm.modules()
        for name, module in parent.named_children()
        if isinstance(module, kinds)
    ]
