"""Bring audio to a level before it is written: by peak, clipping, RMS or perceived loudness."""

import logging

import torch
from torch import Tensor

from musicgen_train.errors import UserError

log = logging.getLogger(__name__)

STRATEGIES = ("peak", "clip", "rms", "loudness", "none")
_SILENCE_RMS = 2e-3  # below this, raising the loudness would only raise noise
_LOWEST_RATE = 4000  # Hz; the filter of the measurement, made for 48 kHz, is unstable below


def normalize_audio(
    wav: Tensor,
    sample_rate: int,
    *,
    normalize: bool = True,
    strategy: str = "peak",
    peak_clip_headroom_db: float = 1,
    rms_headroom_db: float = 18,
    loudness_headroom_db: float = 14,
    loudness_compressor: bool = False,
    clipping_name: str | None = None,
) -> Tensor:
    """Level a [C, N] wav; with `normalize=False` it is only ever made quieter.

    `clipping_name` names the audio in the log when samples above full scale are cut.
    """
    if strategy == "peak":
        return _scale(wav, _from_db(-peak_clip_headroom_db), wav.abs().max(), normalize)
    if strategy == "clip":
        ceiling = _from_db(-peak_clip_headroom_db)
        return wav.clamp(-ceiling, ceiling)
    if strategy == "rms":
        rms = wav.mean(dim=0).square().mean().sqrt()
        return _clip(_scale(wav, _from_db(-rms_headroom_db), rms, normalize), clipping_name)
    if strategy == "loudness":
        louder = to_loudness(wav, sample_rate, -loudness_headroom_db, loudness_compressor)
        return _clip(louder, clipping_name)
    if strategy not in ("none", ""):
        raise UserError(f"unknown strategy {strategy!r}; use one of {', '.join(STRATEGIES)}")
    if wav.abs().max() > 1:
        raise UserError("audio exceeds full scale; scale it or use strategy='peak'")
    return wav


def to_loudness(wav: Tensor, sample_rate: int, target_lufs: float, compress: bool) -> Tensor:
    """Scale a [C, N] wav to an integrated loudness (ITU-R BS.1770).

    What has none stays as it is: near-silence, less than 0.4 s, and audio below 4 kHz.
    """
    if wav.square().mean().sqrt() < _SILENCE_RMS or wav.shape[-1] < 0.4 * sample_rate:
        return wav
    if sample_rate < _LOWEST_RATE:
        return wav
    import pyloudnorm

    measured = pyloudnorm.Meter(sample_rate).integrated_loudness(wav.T.double().numpy())
    if measured == float("-inf"):
        return wav
    scaled = wav * _from_db(target_lufs - measured)
    return torch.tanh(scaled) if compress else scaled


def _from_db(decibels: float) -> float:
    return 10 ** (decibels / 20)


def _scale(wav: Tensor, target: float, level: Tensor, normalize: bool) -> Tensor:
    gain = target / level.clamp_min(1e-12)  # all zeros stay zeros
    return wav * gain if normalize or gain < 1 else wav


def _clip(wav: Tensor, name: str | None) -> Tensor:
    peak = wav.abs().max()
    if name is not None and peak > 1:
        share = (wav.abs() > 1).float().mean().item()
        log.warning("%s clips: %.3f%% of samples, peak %.2f", name, 100 * share, peak)
    return wav.clamp(-1, 1)
