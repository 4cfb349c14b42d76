"""Take the vocals out of a track: by its own stems, by HT-Demucs, or not at all."""

from typing import Any, NamedTuple

import torch
from torch import Tensor

from data_prep.library import Track
from musicgen_train.conditioning.stems import RHYTHM, load_demucs, separate
from musicgen_train.data.audio import read_audio, resample, to_channels
from musicgen_train.errors import UserError

SEPARATORS = ("none", "stems", "demucs")


class Separated(NamedTuple):
    """A track as training needs it."""

    target: Tensor  # [C, N] what the model learns to make: without vocals
    melodic: Tensor  # [C, N] where the melody is heard: without drums and bass
    sample_rate: int


def keep_mix(track: Track) -> Separated:
    """Trust that the track has no vocals; hear the melody in the whole mix."""
    wav, rate = read_audio(track.path)
    return Separated(wav, wav, rate)


def sum_stems(track: Track, sidecar: dict[str, Any]) -> Separated:
    """Sum the stems that the sidecar lists: all but vocals, and all but drums and bass."""
    paths = sidecar.get("stems")
    if not isinstance(paths, dict) or not paths:
        raise UserError(
            f"{track.name}: its sidecar lists no stems; use separator=none or separator=demucs"
        )
    stems: dict[str, Tensor] = {}
    rates = set()
    for name, path in sorted(paths.items()):
        stems[name], rate = read_audio(track.path.parent / path)
        rates.add(rate)
    if len(rates) > 1:
        raise UserError(f"{track.name}: its stems differ in sample rate ({sorted(rates)})")
    return _sum(stems, rates.pop(), f"{track.name}: all its stems are vocals")


def separate_with_demucs(track: Track, name: str, repo: str | None, device: str) -> Separated:
    """Split a track with HT-Demucs, at the separator's own rate and channels."""
    model = load_demucs(name, repo)
    wav, rate = read_audio(track.path)
    wav = to_channels(resample(wav, rate, model.samplerate), model.audio_channels)
    stems = separate(model, wav, device)
    return _sum(stems, model.samplerate, f"{track.name}: no stems")


def _sum(stems: dict[str, Tensor], rate: int, complaint: str) -> Separated:
    n_samples = max(stem.shape[1] for stem in stems.values())
    channels = max(stem.shape[0] for stem in stems.values())
    silence = torch.zeros(channels, n_samples)

    def total(without: set[str]) -> Tensor:
        out = silence.clone()
        for name, stem in stems.items():
            if name not in without:
                out[:, : stem.shape[1]] += to_channels(stem, channels)
        return out

    if set(stems) <= {"vocals"}:
        raise UserError(complaint)
    return Separated(total({"vocals"}), total(RHYTHM), rate)
