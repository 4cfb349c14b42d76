"""Audio that a user hands over: checked before anything is computed from it."""

from numbers import Real

import torch
from torch import Tensor

from musicgen_train.data.audio import resample
from musicgen_train.errors import UserError

HIGHEST_RATE = 384_000  # Hz; above it somebody mixed up rate and length
MOST_CHANNELS = 16  # above it [samples, channels] were swapped
LOUDEST = 100.0  # samples beyond it are integers that were never divided


def check_audio(name: str, wav: Tensor) -> Tensor:
    """The audio [C, N] as float32 on the CPU; refused if it is no audio in [-1, 1]."""
    if not isinstance(wav, Tensor):
        raise UserError(f"{name} is a {type(wav).__name__}: give a tensor [channels, samples]")
    if wav.dim() != 2 or wav.numel() == 0:
        raise UserError(f"{name} has shape {list(wav.shape)}: give [channels, samples], not empty")
    if wav.shape[0] > MOST_CHANNELS:
        raise UserError(
            f"{name} has {wav.shape[0]} channels: give [channels, samples], not the other way round"
        )
    if not wav.is_floating_point() or not wav.isfinite().all():
        raise UserError(f"{name} is not audio: give finite float samples in [-1, 1]")
    if wav.abs().max() > LOUDEST:
        raise UserError(
            f"{name} reaches {wav.abs().max():g}: give samples in [-1, 1] (divide integers by "
            "their full scale)"
        )
    return wav.detach().to("cpu", torch.float32)


def check_sample_rate(name: str, sample_rate: float | None) -> int:
    """Samples per second of the melodies or the prompt; refused if they cannot be."""
    rate = sample_rate
    if not isinstance(rate, Real) or not 0 < rate <= HIGHEST_RATE or rate != int(rate):
        raise UserError(
            f"the {name} has sample rate {rate}: give whole samples per second, at most "
            f"{HIGHEST_RATE}"
        )
    return int(rate)


def at_rate(name: str, wav: Tensor, rate: int, target_rate: int) -> Tensor:
    """The audio [..., C, N] at another rate; refused if nothing is left of it."""
    wav = resample(wav, rate, target_rate)
    if wav.shape[-1] == 0:
        raise UserError(f"{name} is shorter than one sample at {target_rate} Hz: give more of it")
    return wav


def batched(name: str, wav: Tensor) -> Tensor:
    """A batch [B, C, N] of what may be one [C, N]."""
    if not isinstance(wav, Tensor):
        raise UserError(f"the {name} is a {type(wav).__name__}: give a tensor [B, C, N]")
    if wav.dim() not in (2, 3) or wav.numel() == 0:
        raise UserError(f"the {name} has shape {list(wav.shape)}: give [B, C, N], not empty")
    return wav if wav.dim() == 3 else wav[None]
