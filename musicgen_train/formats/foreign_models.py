"""Exported language models as transformers and audiocraft themselves load and run them."""

import importlib.metadata
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.probing import N_FRAMES, Probe
from musicgen_train.lm.delay import delay_codes, undelay
from musicgen_train.lm.model import LanguageModel


def target_library(layout: str) -> str | None:
    """The foreign library that a layout is meant for, if it can be imported here."""
    if layout not in ("audiocraft", "transformers"):
        return None
    try:
        importlib.metadata.version(layout)
    except importlib.metadata.PackageNotFoundError:
        return None
    return layout


def load_transformers(folder: Path, lm: LanguageModel) -> Any:
    """transformers' model of a MusicGen or MusicGen Melody folder, in evaluation mode."""
    import transformers

    melody = lm.config["chroma_dim"] is not None
    kind = f"Musicgen{'Melody' if melody else ''}ForConditionalGeneration"
    model, info = getattr(transformers, kind).from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    if info["missing_keys"] or info["mismatched_keys"]:
        keys = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
        raise UserError(f"transformers misses {keys[0]} in the export: report this as a fault")
    return model.eval()


def transformers_logits(model: Any, inputs: Probe, lm: LanguageModel) -> Tensor:
    """Logits [2, K, T, card] of one of transformers' models."""
    steps = _steps(inputs, lm)
    B, K, S = steps.shape
    conditions = _transformers_conditions(model, inputs)
    output = model(decoder_input_ids=steps.flatten(0, 1), **conditions)
    logits = output.logits[:, -S:].unflatten(0, (B, K))  # a prefix is in front
    return _masked(undelay(logits, lm.delays, n_frames=N_FRAMES), lm)


def transformers_text_states(model: Any, folder: Path, text: str) -> Tensor:
    """What the T5 and the tokenizer of a transformers folder make of a text: [1, L, E]."""
    from transformers import AutoTokenizer

    tokens = AutoTokenizer.from_pretrained(folder)([text], return_tensors="pt")
    ids, mask = tokens["input_ids"], tokens["attention_mask"]
    return model.text_encoder(input_ids=ids, attention_mask=mask).last_hidden_state


def audiocraft_logits(folder: Path, inputs: Probe, lm: LanguageModel) -> Tensor | None:
    """Logits [2, K, T, card] of an audiocraft folder, computed by audiocraft.

    None if it cannot load what it always wants beside the folder: a T5, for melodies also Demucs.
    """
    from audiocraft.models.loaders import load_lm_model  # type: ignore[import-not-found]

    try:
        model = load_lm_model(folder, device="cpu").eval()
    except OSError:  # without a network, say
        return None
    conditioners = model.condition_provider.conditioners
    conditions = {}
    # Each goes in front of those before it.
    for name, given in (("description", inputs.text), ("self_wav", inputs.chroma)):
        if given is not None:
            conditions[name] = (conditioners[name].output_proj(given), torch.ones(given.shape[:2]))
    output = model.compute_predictions(inputs.codes, [], condition_tensors=conditions)
    return _masked(output.logits, lm)


def _transformers_conditions(model: Any, inputs: Probe) -> dict[str, Any]:
    """The conditions as the composite classes take them, so that no T5 has to run."""
    text = inputs.text
    assert text is not None, "transformers has no MusicGen without a text encoder"
    if inputs.chroma is None:
        return {"encoder_outputs": (text,), "attention_mask": torch.ones(text.shape[:2])}
    as_it_is = torch.nn.Identity()  # transformers projects nothing that has the right width
    melody = getattr(model, "audio_enc_to_dec_proj", as_it_is)(inputs.chroma)
    words = getattr(model, "enc_to_dec_proj", as_it_is)(text)
    return {"encoder_hidden_states": torch.cat([melody, words], dim=1)}


def _steps(inputs: Probe, lm: LanguageModel) -> Tensor:
    """Delayed steps [2, K, T] behind their leading special one, cut as in training."""
    delayed = delay_codes(inputs.codes, lm.delays, lm.special_token_id)
    return torch.nn.functional.pad(delayed, (1, 0), value=lm.special_token_id)[..., :N_FRAMES]


def _masked(logits: Tensor, lm: LanguageModel) -> Tensor:
    """Zero where `LanguageModel.logits` has no prediction: behind the last delayed step."""
    delay = torch.tensor(lm.delays)[:, None]
    valid = torch.arange(N_FRAMES) + delay < N_FRAMES
    return logits.masked_fill(~valid[..., None], 0.0)
