"""Training of an adapter: a base that stays as it is, and stays out of checkpoints."""

import copy
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import lightning as L
from lightning.pytorch.strategies import ModelParallelStrategy
from torch import Tensor, nn

from musicgen_train.adapters.adapter_file import AdapterRecord, write_adapter
from musicgen_train.adapters.identity import (
    BaseIdentity,
    describe_identity,
    identity_of,
    read_identity,
)
from musicgen_train.adapters.injection import adapter_config, adapter_state, inject
from musicgen_train.adapters.low_rank import SETTINGS
from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.value_rules import TEXT, Rule, check_arguments
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen
from musicgen_train.training.partial.report import Report

SECTION = "adapter"  # of a checkpoint: what kind it is, and of which base
_PLACE = Path("task.adapter")  # what messages name
_TEXT_OR_NULL = Rule(f"null or {TEXT.wanted}", lambda v: v is None or TEXT.fits(v))
_RULES = {
    **SETTINGS,
    "dropout": Rule(
        "a number from 0 and below 1", lambda v: type(v) in (int, float) and 0 <= v < 1
    ),
    "targets": Rule(
        "null or a list of names like self_attn.qkv",
        lambda v: v is None or (isinstance(v, list) and bool(v) and all(map(TEXT.fits, v))),
    ),
    "trigger": _TEXT_OR_NULL,
    "licence": _TEXT_OR_NULL,
}


class AdapterTraining:
    """What a run that trains an adapter knows of it; its settings are `task.adapter`."""

    def __init__(
        self,
        kind: str = "lora",
        rank: int = 16,
        alpha: float = 32.0,
        dropout: float = 0.05,
        targets: Sequence[str] | None = None,
        trigger: str | None = None,
        licence: str | None = None,
    ) -> None:
        self.options = {
            "kind": kind, "rank": rank, "alpha": alpha, "dropout": dropout, "targets": targets,
        }  # fmt: skip
        self.trigger = trigger
        self.licence = licence
        self.base: BaseIdentity | None = None
        self.base_name = ""

    def check(self, trainer: L.Trainer, *, float8: bool) -> None:
        """Refuse what would change the frozen base, or hold it in parts."""
        if isinstance(trainer.strategy, ModelParallelStrategy):
            raise UserError(
                "task.adapter does not train a sharded model (trainer=fsdp): its base takes no "
                "gradients, so that trainer=ddp has room; use that"
            )
        if float8:
            raise UserError("task.adapter and task.float8 exclude each other: leave one out")

    def begin(
        self, lm: LanguageModel, text_encoder: Any, source: MusicGen, path: str, report: Report
    ) -> None:
        """Freeze a model that took its weights from `source`, and put the adapter into it."""
        self.base, taken = identity_of(source.lm), identity_of(lm)
        if report.differences or not self.base.is_of(taken):
            why = ", ".join(report.differences) or "its weights did not fit as they are"
            raise UserError(
                f"task.adapter needs init_from={path} as it is, but this model is another ({why}): "
                "set model, conditioning and codec as that model has them"
            )
        # Where it lies on somebody's machine is nobody's business.
        self.base_name = source.name if Path(path).exists() else path
        if isinstance(text_encoder, nn.Module):
            text_encoder.requires_grad_(False)
        inject(lm, **self.options, base_name=self.base_name)

    def save(self, checkpoint: dict[str, Any], module: nn.Module) -> None:
        """Leave the base out of a checkpoint, and put in which one it is."""
        for name in frozen(module):
            checkpoint["state_dict"].pop(name, None)
        assert self.base is not None, "a checkpoint before init_from"
        checkpoint[SECTION] = {
            **{name: self.options[name] for name in SETTINGS},
            "base": {"name": self.base_name, **describe_identity(self.base)},
        }

    def load(self, checkpoint: dict[str, Any], module: nn.Module) -> None:
        """Put the base into what is loaded from a checkpoint; refuse another base."""
        assert self.base is not None, "a checkpoint before init_from"
        section = (checkpoint.get(SECTION) or {}).get("base") or {}
        theirs = read_identity(section, Path("resume"))
        if not theirs.is_of(self.base):
            raise UserError(
                f"resume: this adapter was trained on {brief(section.get('name'))} "
                f"({theirs.code}), but init_from is {self.base_name} ({self.base.code}): resume "
                "with the init_from that it began with"
            )
        checkpoint["state_dict"] = {**frozen(module), **checkpoint["state_dict"]}

    def export(self, lm: LanguageModel, folder: Path, name: str, training: dict[str, Any]) -> None:
        """Write the adapter in a trained model as a folder."""
        assert self.base is not None, "an export before init_from"
        record = AdapterRecord(
            name, self.base, self.base_name, self.trigger, training, self.licence
        )
        write_adapter(folder, adapter_state(lm), adapter_config(lm), record)


def adapter_training(settings: Mapping[str, Any] | None) -> AdapterTraining | None:
    """What `task.adapter` asks for; None to train all weights."""
    if settings is None:
        return None
    checked = check_arguments(AdapterTraining, settings, _RULES, "the adapter", _PLACE)
    return AdapterTraining(**checked)


def frozen(module: nn.Module) -> dict[str, Tensor]:
    """The weights that do not change in a training, under all names they have in it.

    Averages share them; what else they hold follows the training.
    """
    base = {
        id(parameter): parameter
        for name, parameter in module.named_parameters()
        if not parameter.requires_grad and not name.startswith("average.")
    }
    return {
        name: parameter.detach()
        for name, parameter in module.named_parameters(remove_duplicate=False)
        if id(parameter) in base
    }


def sharing_copy(module: nn.Module) -> nn.Module:
    """A copy that has weights of its own where they are trained, and else those of the module."""
    return copy.deepcopy(module, {id(p): p for p in module.parameters() if not p.requires_grad})
