"""HT-Demucs: a track as drums, bass, vocals and the rest."""

import functools
import os
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from musicgen_train.conditioning.stem_stream import measure_level, stream_stems
from musicgen_train.errors import UserError

RHYTHM = {"drums", "bass"}  # what a melody is not heard in


def separate(model: Any, wav: Tensor, device: str | torch.device = "cpu") -> dict[str, Tensor]:
    """The stems [C, N] of a track [C, N] at the separator's own rate and channels.

    The same track always gives the same stems.
    """
    level = measure_level([wav])
    stems = torch.cat(list(stream_stems(model, [wav.cpu()], level, device)), dim=-1)
    return dict(zip(model.sources, stems, strict=True))


def melodic_stems(model: Any, wav: Tensor, device: str | torch.device = "cpu") -> Tensor:
    """A track [C, N] without drums and bass, as the released melody models were trained to hear."""
    stems = separate(model, wav, device)
    return torch.stack([stem for name, stem in stems.items() if name not in RHYTHM]).sum(0)


def find_separator(name_or_folder: str) -> Any:
    """A separator by its name ("htdemucs": from its hub), or by the folder of its files."""
    folder = Path(name_or_folder)
    if not folder.is_dir():
        return load_demucs(name_or_folder, None)
    bags = sorted(path.stem for path in folder.glob("*.yaml"))
    if len(bags) != 1:
        raise UserError(
            f"{folder}: holds {len(bags)} .yaml files; put one separator's, with its .safetensors, "
            "into a folder of its own"
        )
    return load_demucs(bags[0], str(folder))


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
        reason = (str(error).strip() or type(error).__name__).splitlines()[0][:200]
        raise UserError(
            f"the separator {name} cannot be downloaded ({reason}); put its {name}.yaml and "
            f".safetensors files into a folder and name that folder (demucs_repo, or separator)"
        ) from None


def _load_local(name: str, folder: Path) -> Any:
    """A bag of models as the hub repository holds it: `<name>.yaml` and safetensors, no pickle."""
    import yaml
    from demucs.apply import BagOfModels
    from demucs.hf import load_safetensors_model
    from safetensors import SafetensorError, safe_open

    recipe = _file(folder / f"{name}.yaml")
    try:
        bag = yaml.safe_load(recipe.read_text())
        signatures = [str(signature) for signature in bag["models"]]
    except (yaml.YAMLError, UnicodeDecodeError, TypeError, KeyError):
        raise UserError(f"{recipe}: lists no models; copy the hub's file again") from None
    models = []
    for signature in signatures:
        path = _file(folder / f"{signature}.safetensors")
        try:
            with safe_open(path, framework="pt") as file:
                made_by = (file.metadata() or {}).get("klass", "nothing known")
        except SafetensorError as error:
            raise UserError(f"{path}: is damaged ({error}); copy the hub's file again") from None
        if not made_by.startswith("demucs."):  # demucs imports whatever class the file names
            raise UserError(f"{path}: is not a demucs model but {made_by}; use the hub's file")
        models.append(load_safetensors_model(path))
    return BagOfModels(models, bag.get("weights"), bag.get("segment")).eval()


def _file(path: Path) -> Path:
    if not path.is_file():
        raise UserError(f"{path}: no such file; copy it from the separator's hub repository")
    return path
