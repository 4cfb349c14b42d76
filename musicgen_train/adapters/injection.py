"""peft's layers in a plain language model, put there from outside to be trained."""

import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from musicgen_train.adapters.low_rank import Kind, LowRank, linear_sizes, low_rank
from musicgen_train.errors import UserError
from musicgen_train.formats.lm_building import empty_lm, fill_lm
from musicgen_train.lm.model import LanguageModel

# All of a layer, and what makes a text a part of the music. Not the few weights that hear a melody,
# as a style does not change what a melody is.
TARGETS = (
    "self_attn.qkv", "self_attn.out", "cross_attn.q", "cross_attn.kv", "cross_attn.out", "ffn.up",
    "ffn.down", "fuser.text_proj",
)  # fmt: skip
_NAME = "default"  # what peft calls an adapter that is alone
_NO_FILE = Path("the adapter that is trained")


def check_adaptable(lm: LanguageModel, *, kind: str, targets: Sequence[str] | None) -> list[str]:
    """The targets that the model has; refuse those that it lacks, or that cannot be adapted so."""
    present = _present(lm, targets)
    if kind == "dora":
        _check_rows(lm, present)
    return present


def inject(
    lm: LanguageModel,
    *,
    kind: str,
    rank: int,
    alpha: float,
    dropout: float,
    targets: Sequence[str] | None,
    base_name: str,
) -> None:
    """Put an adapter that changes nothing yet into a model; nothing but it can be trained then.

    targets: ends of the names of matrices; None takes TARGETS.
    """
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)  # of kernels it could not download
    from peft import LoraConfig, inject_adapter_in_model

    config = LoraConfig(
        r=rank,
        lora_alpha=alpha,  # type: ignore[arg-type]
        lora_dropout=dropout,
        use_dora=kind == "dora",
        target_modules=check_adaptable(lm, kind=kind, targets=targets),
        base_model_name_or_path=base_name,
    )
    inject_adapter_in_model(config, lm, adapter_name=_NAME)


def adapter_state(lm: LanguageModel) -> dict[str, Tensor]:
    """The tensors of the adapter in a model, under peft's names."""
    from peft import get_peft_model_state_dict

    return get_peft_model_state_dict(lm, adapter_name=_NAME, save_embedding_layers=False)


def adapter_config(lm: LanguageModel) -> dict[str, Any]:
    """peft's configuration of the adapter in a model, as its file has it."""
    config = _config(lm).to_dict()
    plain = {name: sorted(v) if isinstance(v, set) else v for name, v in config.items()}
    return {**plain, "peft_type": "LORA", "inference_mode": True}


def merged(lm: LanguageModel) -> LanguageModel:
    """A plain model on the CPU with the adapter in its weights; what it can share it shares."""
    config = _config(lm)
    kind = Kind(config.r, config.lora_alpha / config.r, config.use_dora)
    tensors = {name: tensor.detach().cpu() for name, tensor in adapter_state(lm).items()}
    changes = low_rank(tensors, kind, linear_sizes(lm), _NO_FILE)
    state = {
        name.replace(".base_layer.", "."): tensor.detach().cpu()
        for name, tensor in lm.state_dict().items()
        if ".lora_" not in name
    }
    change_weights(state, changes)
    return fill_lm(empty_lm(lm.config, _NO_FILE), state, _NO_FILE)


def change_weights(state: dict[str, Tensor], changes: dict[str, LowRank]) -> None:
    """Replace the matrices of a language model's state by changed ones."""
    for name, change in changes.items():
        weight = state[f"{name}.weight"].float()
        state[f"{name}.weight"] = weight + change.change(weight)


def _config(lm: LanguageModel) -> Any:
    return lm.peft_config[_NAME]  # type: ignore[index]


def _present(lm: LanguageModel, targets: Sequence[str] | None) -> list[str]:
    """The targets that the model has; one that is asked for and absent is refused."""
    linears = {
        name
        for name, module in lm.named_modules()
        # The loss reads the heads' weights past any adapter.
        if isinstance(module, nn.Linear) and module is not lm.heads
    }
    known = [t for t in targets or TARGETS if any(_is_named(name, t) for name in linears)]
    absent = [t for t in targets or () if t not in known]
    if absent:
        ends = sorted({".".join(name.split(".")[-2:]) for name in linears})
        raise UserError(
            f"task.adapter.targets: the model has no matrix {absent[0]}: take some of "
            f"{', '.join(ends)}"
        )
    assert known, f"a model without layers: {lm.config}"
    return known


def _is_named(name: str, target: str) -> bool:
    return name == target or name.endswith(f".{target}")


def _check_rows(lm: LanguageModel, targets: Sequence[str]) -> None:
    """Refuse rows of zeros: DoRA divides by their lengths."""
    for name, module in lm.named_modules():
        chosen = any(_is_named(name, target) for target in targets)
        if chosen and isinstance(module, nn.Linear) and not bool(module.weight.any(dim=1).all()):
            raise UserError(
                f"task.adapter.kind=dora: {name} of the base has a row of zeros, which has no "
                "direction: use kind=lora"
            )
