"""Whether the parts of a model fit each other, and a device: asked before anything is computed."""

from typing import Any

import torch

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.conditioning.chroma import ChromaExtractor
from musicgen_train.conditioning.text import T5TextEncoder, WordTextEncoder
from musicgen_train.errors import UserError
from musicgen_train.lm.inference import prepare
from musicgen_train.lm.model import LanguageModel


def check_fit(
    codec: Encodec | StereoCodec,
    lm: LanguageModel,
    text_encoder: WordTextEncoder | T5TextEncoder | None,
    chroma: ChromaExtractor | None = None,
) -> None:
    """Refuse parts that do not belong together, naming both values."""
    if (codec.n_q, codec.card) != (lm.n_q, lm.card):
        raise UserError(
            f"the codec has {codec.n_q} codebooks of {codec.card}, the language model "
            f"{lm.n_q} of {lm.card}: load the codec that the model was trained with"
        )
    text_dim = lm.config["text_dim"]
    if text_encoder is not None and text_encoder.dim != text_dim:
        raise UserError(
            f"the text encoder gives {text_encoder.dim} features, the language model takes "
            f"{text_dim}: load the text encoder that the model was trained with"
        )
    if chroma is not None:
        _check_chroma(codec, lm, chroma)


def _check_chroma(codec: Encodec | StereoCodec, lm: LanguageModel, chroma: ChromaExtractor) -> None:
    taken = lm.config["chroma_dim"]
    if chroma.n_chroma != taken:
        raise UserError(
            f"the chroma extractor gives {chroma.n_chroma} pitch classes, the language model takes "
            f"{taken or 'no melody'}: load the extractor that the model was trained with"
        )
    rate = chroma.sample_rate / chroma.hop / codec.frame_rate
    if lm.config["fuse_chroma"] == "sum" and abs(rate - lm.chroma_rate) > 1e-6:
        raise UserError(
            f"the chroma extractor gives {rate:g} frames per codec frame, the language model takes "
            f"{lm.chroma_rate:g}: load the extractor that the model was trained with"
        )


def checked_device(device: str | torch.device | None) -> torch.device:
    """The device that is meant, by default a GPU if there is one; refused if it computes nothing.

    So is "meta", whose tensors have shapes only.
    """
    if device is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.ones(1, device=device).item()
    except (RuntimeError, AssertionError, TypeError) as error:
        reason = str(error).splitlines()[0]
        raise UserError(f"device {device}: cannot be used ({reason}); try cpu") from None
    return torch.device(device)


def prepare_for_generation(lm: LanguageModel, *, weights: str, compile: bool) -> None:
    """`lm.inference.prepare`, as it suits the model's device."""
    graphs = compile and lm.device.type == "cuda"
    try:
        prepare(lm, weights=weights, compile=compile, cuda_graphs=graphs)
    except ValueError as error:
        raise UserError(str(error)) from None


def check_preparation(device: torch.device, preparation: dict[str, Any]) -> None:
    """Refuse a preparation that the device cannot do, by doing it to the smallest of models."""
    smallest = LanguageModel(n_q=1, card=1, dim=2, num_heads=1, num_layers=1)
    prepare_for_generation(smallest.to(device), **preparation)
