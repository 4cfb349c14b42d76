"""Checkpoints of a run that trains an adapter: they hold no base, which comes from where it was."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief
from musicgen_train.formats.value_rules import TEXT
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

_PARTS = {
    ".lora_A.default.weight": ".lora_A.weight",
    ".lora_B.default.weight": ".lora_B.weight",
    ".lora_magnitude_vector.default.weight": ".lora_magnitude_vector",
}


def load_base(started_from: Any, path: Path) -> MusicGen:
    """The model that the run of a checkpoint started from; it may have moved, or be gone."""
    from musicgen_train.formats.models import load_musicgen  # which reads checkpoints too

    if not TEXT.fits(started_from):
        raise UserError(f"{path} names no base of its adapter (init_from is {brief(started_from)})")
    if Path(started_from).suffix == ".ckpt":  # which may be of an adapter, whose base …
        raise UserError(
            f"{path} holds an adapter of the checkpoint {started_from}: give the model that the "
            "run exported, runs/NAME/model"
        )
    try:
        return load_musicgen(started_from)
    except UserError as error:
        raise UserError(
            f"{path} holds an adapter of {started_from}, which cannot be loaded ({error}): put it "
            "there, run from the directory that the training ran in, or give runs/NAME/model"
        ) from None


@torch.no_grad()
def merge_trained(lm: LanguageModel, adapter: Any, state: dict[str, Tensor], path: Path) -> None:
    """Merge the adapter of a checkpoint into its base.

    adapter: what the checkpoint says of it. state: the language model's weights.
    """
    from musicgen_train.adapters.identity import check_base, identity_of, read_identity
    from musicgen_train.adapters.low_rank import kind_of, linear_sizes, low_rank

    adapter = adapter if isinstance(adapter, dict) else {}
    wanted = read_identity(adapter.get("base"), path)
    check_base(wanted, brief(adapter["base"].get("name")), identity_of(lm), path)
    tensors = {
        name.removesuffix(end) + ours: tensor
        for name, tensor in state.items()
        for end, ours in _PARTS.items()
        if name.endswith(end)
    }
    changes = low_rank(tensors, kind_of(adapter, path), linear_sizes(lm), path)
    for matrix, change in changes.items():
        weight = lm.get_submodule(matrix).weight
        assert isinstance(weight, Tensor), matrix
        weight += change.change(weight)
