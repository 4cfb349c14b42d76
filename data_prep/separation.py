"""Take the vocals out of a track: by its own stems, by HT-Demucs, or not at all."""

import functools
import os
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor

from data_prep.library import Track
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
    from demucs.apply import apply_model

    model = load_demucs(name, repo)
    wav, rate = read_audio(track.path)
    wav = to_channels(resample(wav, rate, model.samplerate), model.audio_channels)
    mono = wav.mean(dim=0)
    centre, spread = mono.mean(), mono.std().clamp_min(1e-8)
    mix = ((wav - centre) / spread)[None]
    with torch.inference_mode():  # no random shifts: the same song gives the same stems
        sources = apply_model(model, mix, shifts=0, split=True, overlap=0.25, device=device)[0]
    sources = sources.cpu() * spread + centre
    stems = dict(zip(model.sources, sources.clone(), strict=True))
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
    return Separated(total({"vocals"}), total({"drums", "bass"}), rate)


@functools.lru_cache(maxsize=1)
def load_demucs(name: str, repo: str | None) -> Any:
    """HT-Demucs from its hub, or from a local folder of the hub repository's files."""
    os.environ.setdefault("HF_HUB_DISABLE_PROGRESS_BARS", "1")
    from demucs.hf import get_hf_model

    if repo is not None:
        return _load_local(name, Path(repo))
    try:
        return get_hf_model(name).eval()
    except Exception as error:
        reason = str(error).strip().splitlines()[0][:200]
        raise UserError(
            f"the separator {name} cannot be downloaded ({reason}); put its {name}.yaml and "
            f".safetensors files into a folder and set demucs_repo to it"
        ) from None


def _load_local(name: str, folder: Path) -> Any:
    """A bag of models as the hub repository holds it: `<name>.yaml` and safetensors, no pickle."""
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import load_safetensors_model
    from safetensors import safe_open

    bag = yaml.safe_load(_file(folder / f"{name}.yaml").read_text())
    models = []
    for signature in bag["models"]:
        path = _file(folder / f"{signature}.safetensors")
        with safe_open(path, framework="pt") as file:
            made_by = (file.metadata() or {}).get("klass", "nothing known")
        if not made_by.startswith("demucs."):  # demucs imports whatever class the file names
            raise UserError(f"{path}: is not a demucs model but {made_by}; use the hub's file")
        models.append(load_safetensors_model(path))
    return BagOfModels(models, bag.get("weights"), bag.get("segment")).eval()


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; copy it from the separator's hub repository")
    return path
