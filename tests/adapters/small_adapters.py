"""Random adapters of a model, as they are after a training, and what they make of it."""

from copy import deepcopy
from pathlib import Path

import torch
from torch import Tensor

from musicgen_train.adapters.adapter_file import AdapterRecord, write_adapter
from musicgen_train.adapters.identity import identity_of
from musicgen_train.adapters.injection import adapter_config, adapter_state, inject
from musicgen_train.formats.probing import probe
from musicgen_train.lm.model import LanguageModel


def trained(lm: LanguageModel, kind: str = "lora", seed: int = 0, **options) -> LanguageModel:
    """A copy of a model with an adapter of peft's in it that changes the music a lot."""
    lm = deepcopy(lm)
    given = {"rank": 4, "alpha": 8.0, "dropout": 0.1, "targets": None, "base_name": "tiny"}
    inject(lm, kind=kind, **(given | options))
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in lm.named_parameters():
        if ".lora_B." in name:
            parameter.data = torch.randn(parameter.shape, generator=generator) * 0.2
        if ".lora_magnitude_vector." in name:
            parameter.data *= 1 + 0.3 * torch.rand(parameter.shape, generator=generator)
    return lm.eval()


def write(lm: LanguageModel, adapted: LanguageModel, folder: Path, name: str = "mine") -> Path:
    """The folder of an adapter of `lm`, as a training writes it."""
    record = AdapterRecord(name, identity_of(lm), "tiny", "my style", {"steps": 7}, "MIT")
    return write_adapter(folder, adapter_state(adapted), adapter_config(adapted), record)


@torch.no_grad()
def logits(lm: LanguageModel) -> Tensor:
    """Logits that depend on all weights."""
    return probe(lm).logits(lm)
