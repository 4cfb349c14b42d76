"""Any MusicGen: native, of a training, audiocraft's or transformers', from a path or the hub."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal, NamedTuple

from musicgen_train.errors import UserError
from musicgen_train.formats import audiocraft_codec
from musicgen_train.formats.audiocraft_lm import read_audiocraft_lm, read_audiocraft_musicgen
from musicgen_train.formats.files import brief, path_of, read_json
from musicgen_train.formats.hub import (
    MUSICGEN_NAMES,
    fetch_musicgen,
    hub_id,
    is_released_codec,
)
from musicgen_train.formats.lightning_checkpoint import (
    read_lightning_lm,
    read_lightning_musicgen,
)
from musicgen_train.formats.native import ASSETS, FORMAT, read_native_lm, read_native_musicgen
from musicgen_train.formats.transformers_lm import read_transformers_lm, read_transformers_musicgen
from musicgen_train.formats.transformers_weights import whole_weights
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

LM_FILE = "state_dict.bin"  # audiocraft's language model
_CODEC = "holds a codec, not a language model: give a MusicGen folder"


class Located(NamedTuple):
    """A checkpoint on this machine: a folder, or the one file of a training."""

    layout: Literal["native", "lightning", "audiocraft", "transformers"]
    path: Path
    repository: str | None = None  # of the hub, if it was fetched from there


def load_lm(path_or_name: str | Path) -> LanguageModel:
    """Load the bare language model in evaluation mode, whoever wrote it; no text encoder is read.

    path_or_name: as for `load_musicgen`.
    """
    layout, path, _ = locate(path_or_name, lm_only=True)
    with _naming(path):
        if layout == "native":
            return read_native_lm(path)
        if layout == "lightning":
            return read_lightning_lm(path)
        if layout == "audiocraft":
            return read_audiocraft_lm(path)
        return read_transformers_lm(path)


def load_musicgen(path_or_name: str | Path) -> MusicGen:
    """Load everything that generates: codec, language model, text encoder, chroma.

    path_or_name: a folder (native, audiocraft's, transformers' MusicGen or MusicGen Melody), a
    checkpoint file that train.py wrote (*.ckpt), a model that ships in assets, or a name of the
    hub: `small`, `stereo-melody` (facebook/musicgen-…), `owner/repository`.
    """
    layout, path, repository = locate(path_or_name)
    with _naming(path):
        if layout == "native":
            return read_native_musicgen(path)
        if layout == "lightning":
            return read_lightning_musicgen(path)
        if layout == "audiocraft":
            return read_audiocraft_musicgen(path, repository)
        return read_transformers_musicgen(path, repository)


def locate(path_or_name: str | Path, *, lm_only: bool = False) -> Located:
    """Where a MusicGen is and who wrote it; a name of the hub is fetched.

    lm_only: nothing but the language model has to be there.
    """
    path, name = path_of(path_or_name), str(path_or_name)
    if path.is_file():
        return _file(path)
    repository = hub_id(name)
    for folder in (path, ASSETS / path_or_name, *([Path(repository)] if repository else [])):
        # A folder that only happens to be called like a released model does not hide it.
        if folder.is_dir() and (name not in MUSICGEN_NAMES or _describes_itself(folder)):
            return _folder(folder)
    if path.suffix == ".ckpt":
        raise UserError(f"no checkpoint at {path}: no such file")
    if repository is None or len(path.parents) > 2:
        raise UserError(
            f"no checkpoint at {name}: give a MusicGen folder, a .ckpt file of train.py, a "
            f"repository of the hub like facebook/musicgen-small, or {', '.join(MUSICGEN_NAMES)}"
        )
    if is_released_codec(name):
        raise UserError(f"{name} {_CODEC}, or a name like small")
    found = _folder(fetch_musicgen(repository, lm_only=lm_only))
    return found._replace(repository=repository)


def _describes_itself(folder: Path) -> bool:
    return any((folder / name).is_file() for name in ("config.json", LM_FILE))


def _file(path: Path) -> Located:
    if path.suffix == ".ckpt":
        return Located("lightning", path)
    if path.name == LM_FILE:
        return Located("audiocraft", path.parent)
    if path.name == audiocraft_codec.FILE_NAME:
        raise UserError(f"{path} {_CODEC}")
    if path.suffix in (".safetensors", ".json", ".bin"):
        raise UserError(f"{path} is one file of a checkpoint: give its folder, {path.parent}")
    raise UserError(f"{path} is no checkpoint: give a MusicGen folder, or a .ckpt file of train.py")


def _folder(folder: Path) -> Located:
    config, pickle = folder / "config.json", folder / LM_FILE
    if (folder / ".metadata").is_file():
        raise UserError(
            f"{folder} is a sharded checkpoint: make one file of it: python -m "
            f"musicgen_train.training.surviving.consolidate {folder} one.ckpt"
        )
    if not config.is_file():
        if pickle.is_file():
            return Located("audiocraft", folder)
        if (folder / audiocraft_codec.FILE_NAME).is_file():
            raise UserError(f"{folder} {_CODEC}")
        raise UserError(f"no checkpoint at {folder}: it has no config.json and no {LM_FILE}"
                        f"{_inside(folder)}")  # fmt: skip
    content = read_json(config)
    content = content if isinstance(content, dict) else {}
    if content.get("model_type") in ("musicgen", "musicgen_melody"):
        # The hub's folders hold both layouts; where the large file was left out, the other serves.
        if pickle.is_file() and whole_weights(folder) is None:
            return Located("audiocraft", folder)
        return Located("transformers", folder)
    if "lm" in content and content.get("format") == FORMAT:
        return Located("native", folder)
    if pickle.is_file():  # beside which a config.json means nothing to audiocraft
        return Located("audiocraft", folder)
    _refuse_codec(content, folder)
    if "model_type" in content:
        raise UserError(
            f"{config} describes model_type {brief(content['model_type'])}: only musicgen and "
            "musicgen_melody can be loaded"
        )
    return Located("native", folder)


def _refuse_codec(config: dict[str, Any], folder: Path) -> None:
    native = "codec" in config and "lm" not in config
    if native or config.get("model_type") == "encodec":
        raise UserError(f"{folder} {_CODEC}")


def _inside(folder: Path) -> str:
    """Where in a training's run directory its model is."""
    for inner in (folder / "model", folder / "checkpoints" / "last.ckpt"):
        if inner.exists():
            return f"; give {inner}"
    return ""


@contextmanager
def _naming(path: Path) -> Iterator[None]:
    """Put the checkpoint's path in front of an error that does not say where it is from."""
    try:
        yield
    except UserError as error:
        if str(path) in str(error):
            raise
        raise UserError(f"{path}: {error}") from None
