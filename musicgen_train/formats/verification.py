"""That an exported checkpoint computes what it was made from, in the library it is meant for."""

import importlib.metadata
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats.codecs import load_codec
from musicgen_train.formats.models import load_musicgen
from musicgen_train.lm.delay import delay_codes, undelay
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

TOLERANCE = 1e-4  # of the largest number
_FRAMES, _WORDS = 12, 5


class Probe(NamedTuple):
    """Random inputs of a language model, the same whenever they are drawn."""

    codes: Tensor  # [2, K, T]
    text: Tensor | None  # [2, L, E], all of it words
    chroma: Tensor | None  # [2, F, 12] one-hot

    def logits(self, lm: LanguageModel) -> Tensor:
        """What a language model makes of it: [2, K, T, card]."""
        text = None if self.text is None else (self.text, torch.ones(self.text.shape[:2]))
        return lm.logits(self.codes, text=text, chroma=self.chroma)[0]


def probe(lm: LanguageModel) -> Probe:
    """Inputs that reach every weight but those of unused codes."""
    rng = torch.Generator().manual_seed(0)
    codes = torch.randint(lm.card, (2, lm.n_q, _FRAMES), generator=rng)
    text = chroma = None
    if width := lm.config["text_dim"]:
        text = torch.randn(2, _WORDS, width, generator=rng) / 4
    if bins := lm.config["chroma_dim"]:
        length = lm.config["chroma_length"]
        notes = torch.randint(bins, (2, length), generator=rng)
        chroma = torch.nn.functional.one_hot(notes, bins).float()
    return Probe(codes, text, chroma)


@torch.no_grad()
def verify_musicgen(model: MusicGen, folder: Path, layout: str) -> str:
    """Load `folder` again and compare logits; the report in a line, or a `UserError`."""
    inputs = probe(model.lm)
    expected = inputs.logits(model.lm)
    library, got = target_library(layout), None
    if library == "transformers":
        got = transformers_logits(folder, inputs, model.lm)
    elif library == "audiocraft":
        got = audiocraft_logits(folder, inputs, model.lm)
    if got is None:
        library, got = None, inputs.logits(load_musicgen(folder).lm)
    if _mono(load_codec(folder)).identity() != _mono(model.codec).identity():
        raise UserError("the codec came back changed: nothing was written; report this as a fault")
    return _compare(got, expected, layout, library, "logits")


@torch.no_grad()
def verify_codec(codec: Encodec | StereoCodec, folder: Path, layout: str) -> str:
    """Load `folder` again; compare latents and decoded audio."""
    mono = _mono(codec)
    rng = torch.Generator().manual_seed(0)
    wav = torch.randn(1, mono.channels, 16 * mono.hop_length, generator=rng) / 4
    latents = torch.randn(1, mono.config["dimension"], 16, generator=rng)
    library = "transformers" if target_library(layout) == "transformers" else None
    if library is not None:
        from transformers import EncodecModel

        loaded: Any = EncodecModel.from_pretrained(folder, dtype=torch.float32).eval()
    else:
        loaded = _mono(load_codec(folder))
    got, expected = (
        torch.cat([each.encoder(wav).flatten(), each.decoder(latents).flatten()])
        for each in (loaded, mono)
    )
    for k, codebook in enumerate(mono.quantizer.codebooks):
        theirs = loaded.quantizer
        theirs = theirs.layers[k].codebook if library else theirs.codebooks[k]
        if not torch.equal(theirs.embed, codebook.embed):
            raise UserError(f"codebook {k} came back changed: report this as a fault")
    return _compare(got, expected, layout, library, "latents and audio")


def target_library(layout: str) -> str | None:
    """The foreign library that a layout is meant for, if it can be imported here."""
    if layout not in ("audiocraft", "transformers"):
        return None
    try:
        importlib.metadata.version(layout)
    except importlib.metadata.PackageNotFoundError:
        return None
    return layout


def transformers_logits(folder: Path, inputs: Probe, lm: LanguageModel) -> Tensor:
    """Logits [2, K, T, card] of a transformers MusicGen or MusicGen Melody folder."""
    import transformers

    melody = inputs.chroma is not None
    kind = f"Musicgen{'Melody' if melody else ''}ForConditionalGeneration"
    model, info = getattr(transformers, kind).from_pretrained(
        folder, dtype=torch.float32, output_loading_info=True
    )
    if info["missing_keys"] or info["mismatched_keys"]:
        keys = sorted(map(str, [*info["missing_keys"], *info["mismatched_keys"]]))
        raise UserError(f"transformers misses {keys[0]} in the export: report this as a fault")
    model.eval()
    steps = _steps(inputs, lm)
    B, K, S = steps.shape
    conditions = _transformers_conditions(model, inputs)
    output = model(decoder_input_ids=steps.flatten(0, 1), **conditions)
    logits = output.logits[:, -S:].unflatten(0, (B, K))  # a prefix is in front
    return _masked(undelay(logits, lm.delays, n_frames=_FRAMES), lm)


def _transformers_conditions(model: Any, inputs: Probe) -> dict[str, Any]:
    """The conditions as the composite classes take them, so that no T5 has to run."""
    text = inputs.text
    if inputs.chroma is None:
        if text is None:
            text = torch.zeros(2, 1, model.config.text_encoder.d_model)
            return {"encoder_outputs": (text,), "attention_mask": torch.zeros(2, 1)}
        return {"encoder_outputs": (text,), "attention_mask": torch.ones(text.shape[:2])}
    as_it_is = torch.nn.Identity()  # transformers projects nothing that has the right width
    parts = [getattr(model, "audio_enc_to_dec_proj", as_it_is)(inputs.chroma)]
    if text is not None:
        parts.append(getattr(model, "enc_to_dec_proj", as_it_is)(text))
    return {"encoder_hidden_states": torch.cat(parts, dim=1)}


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


def _mono(codec: Encodec | StereoCodec) -> Encodec:
    return codec.mono if isinstance(codec, StereoCodec) else codec


def _steps(inputs: Probe, lm: LanguageModel) -> Tensor:
    """Delayed steps [2, K, T] behind their leading special one, cut as in training."""
    delayed = delay_codes(inputs.codes, lm.delays, lm.special_token_id)
    return torch.nn.functional.pad(delayed, (1, 0), value=lm.special_token_id)[..., :_FRAMES]


def _masked(logits: Tensor, lm: LanguageModel) -> Tensor:
    """Zero where `LanguageModel.logits` has no prediction: behind the last delayed step."""
    delay = torch.tensor(lm.delays)[:, None]
    valid = torch.arange(_FRAMES) + delay < _FRAMES
    return logits.masked_fill(~valid[..., None], 0.0)


def _compare(got: Tensor, expected: Tensor, layout: str, library: str | None, what: str) -> str:
    difference = float((got - expected).abs().max())
    reader = f"{library} {importlib.metadata.version(library)}" if library else "musicgen_train"
    if got.shape != expected.shape or not difference <= TOLERANCE * float(expected.abs().max()):
        raise UserError(
            f"{reader} computes other {what} from the export (largest difference {difference:.2g}):"
            " nothing was written; report this as a fault"
        )
    missing = "" if library or layout == "native" else f"; {layout} is not here, or lacks its T5"
    return f"{reader} computes the same {what} (largest difference {difference:.1e}{missing})"
