"""The clips of one trial made alike: rate, channels, length, loudness and bytes of the file."""

from __future__ import annotations

import hashlib
import io
import math
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import soundfile
import torch
from torch import Tensor

from musicgen_train.data.audio import read_audio, resample, to_channels
from musicgen_train.data.loudness_meter import measure_loudness

TARGET = -23.0  # LUFS; EBU R 128, which leaves room for most peaks
PEAK = -1.0  # dBFS; no sample comes above
QUIETEST = -60.0  # LUFS; what is quieter would come out as noise, and stays as it is
RATES = (16000, 48000)  # Hz; the meter works and browsers play anything between
GATING_BLOCK = 0.4  # seconds; what is shorter has no loudness
FADE = 0.01  # seconds, where a clip was cut


class MatchedClip(NamedTuple):
    """A clip as listeners get it."""

    wav_file: bytes  # 16-bit; those of one trial have the same size
    duration: float
    loudness: float | None  # LUFS as measured in the file; None: silence
    digest: str  # of the file


def match_clips(paths: Sequence[Path]) -> list[MatchedClip]:
    """Read the clips of one trial and make them differ in nothing but their sound.

    All get the highest rate and number of channels (at most two), are cut to the shortest, and
    brought to one loudness: -23 LUFS, or as much below as the clip with the highest peaks needs.
    """
    wavs, rate = _alike([read_audio(path) for path in paths])
    levels = [_loudness(wav, rate) for wav in wavs]
    sounding = [(wav, level) for wav, level in zip(wavs, levels, strict=True) if level is not None]
    room = [level + PEAK - _decibels(float(wav.abs().max())) for wav, level in sounding]
    target = min([TARGET, *room])
    matched = []
    for wav, level in zip(wavs, levels, strict=True):
        if level is not None:
            wav = _to_loudness(wav, rate, level, target)
        matched.append(_encoded(wav, rate))
    return matched


def _alike(sounds: Sequence[tuple[Tensor, int]]) -> tuple[list[Tensor], int]:
    """Clips [C, N] of one rate, with as many channels, as long as the shortest."""
    rate = min(max(*(rate for _, rate in sounds), RATES[0]), RATES[1])
    channels = min(max(len(wav) for wav, _ in sounds), 2)
    wavs = [to_channels(resample(wav, own, rate), channels) for wav, own in sounds]
    # Resampling may add a sample to one and not to another: that is no difference to fade.
    lengths = [wav.shape[-1] for wav in wavs]
    shortest = max(1, min(lengths))
    wavs = [wav[:, :shortest].clone() for wav in wavs]
    if max(lengths) - shortest > FADE * rate:
        n = min(shortest, round(FADE * rate))
        for wav in wavs:
            wav[:, shortest - n :] *= torch.linspace(1, 0, n)
    return wavs, rate


def _to_loudness(wav: Tensor, rate: int, level: float, target: float) -> Tensor:
    """Scale to `target` LUFS; anew if what the gates let pass has changed with the level."""
    for _ in range(3):
        wav = wav * 10 ** ((target - level) / 20)
        level = _loudness(wav, rate) or target
        if abs(level - target) < 0.01:
            break
    return wav.clamp(-1, 1)


def _loudness(wav: Tensor, rate: int) -> float | None:
    """LUFS, of a clip too short to have any as if it went on; None for (near) silence."""
    times = math.ceil(GATING_BLOCK * rate / wav.shape[-1])
    level = measure_loudness(wav.repeat(1, times), rate)
    return None if level is None or level < QUIETEST else level


def _encoded(wav: Tensor, rate: int) -> MatchedClip:
    buffer = io.BytesIO()
    soundfile.write(buffer, wav.T.numpy(), rate, format="WAV", subtype="PCM_16")
    data = buffer.getvalue()
    heard, _ = soundfile.read(io.BytesIO(data), dtype="float32", always_2d=True)
    level = _loudness(torch.from_numpy(heard.T.copy()), rate)
    digest = hashlib.sha256(data).hexdigest()[:16]
    return MatchedClip(
        data, wav.shape[-1] / rate, None if level is None else round(level, 2), digest
    )


def _decibels(value: float) -> float:
    return 20 * math.log10(max(value, 1e-9))
