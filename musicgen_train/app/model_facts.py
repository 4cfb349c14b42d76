"""What a checkpoint can do, told from its configuration without loading its weights."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError

_AUDIOCRAFT = "state_dict.bin"


@dataclass(frozen=True)
class ModelFacts:
    """What the form shows, and what a request is checked by."""

    takes_text: bool
    takes_melody: bool
    max_duration: float  # seconds of the window; longer music slides it
    sample_rate: int
    channels: int
    present: bool = True  # on this machine: taking it downloads nothing


def facts_of(source: str) -> ModelFacts:
    """The facts of a checkpoint: a path, or a name of the hub, of which nothing is fetched."""
    from musicgen_train.formats.hub import cached, hub_id

    repository = hub_id(source)
    if repository is None or _is_here(source, repository):
        return _located_facts(source)
    folder = cached(repository)
    if folder is None or not _is_whole(folder):
        return replace(_by_name(source), present=False)
    return _by_name(source) if _is_released(source) else _located_facts(source)


def _is_here(source: str, repository: str) -> bool:
    """Whether a name of the hub is also that of a folder here, as `formats.models.locate` asks."""
    from musicgen_train.formats.native import ASSETS

    folders = (Path(source), ASSETS / source, Path(repository))
    described = (
        (folder / name).is_file() for folder in folders for name in ("config.json", _AUDIOCRAFT)
    )
    return Path(source).is_file() or any(described)


def _is_whole(folder: Path) -> bool:
    from musicgen_train.formats.transformers_weights import whole_weights

    return whole_weights(folder) is not None or (folder / _AUDIOCRAFT).is_file()


def _is_released(source: str) -> bool:
    from musicgen_train.formats.hub import MUSICGEN_NAMES

    return source.removeprefix("facebook/musicgen-") in MUSICGEN_NAMES


def _by_name(source: str) -> ModelFacts:
    """As released: all models of 32 kHz and 30 s, named by what is special about them."""
    return ModelFacts(True, "melody" in source, 30.0, 32_000, 2 if "stereo" in source else 1)


def _located_facts(source: str) -> ModelFacts:
    """The facts of a checkpoint that is here; its configuration is not trusted."""
    from musicgen_train.formats.models import locate

    layout, path, _ = locate(source)
    read: dict[str, Callable[[Path], ModelFacts]] = {
        "native": _native,
        "transformers": _transformers,
        "audiocraft": _audiocraft,
        "lightning": _lightning,
    }
    try:
        return read[layout](path)
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError) as error:
        if isinstance(error, UserError):
            raise
        raise UserError(f"{path}: its configuration is damaged: copy or export it again") from None


def _native(folder: Path) -> ModelFacts:
    from musicgen_train.formats.native import read_config

    config = read_config(folder)
    codec = config["codec"]
    text = config.get("text_encoder")
    return ModelFacts(
        text is not None,
        config.get("chroma") is not None,
        _seconds(config["max_duration"]),
        int(codec["sample_rate"]),
        2 if config.get("stereo") else int(codec["channels"]),
        _has_text_encoder(text),
    )


def _has_text_encoder(section: Any) -> bool:
    """Whether a text encoder that is stored elsewhere is on this machine."""
    from musicgen_train.formats.hub import cached
    from musicgen_train.formats.native import ASSETS

    if not isinstance(section, dict) or section.get("type") != "t5":
        return True
    name = str(section["name_or_path"])
    return (ASSETS / name).is_dir() or Path(name).is_dir() or cached(name) is not None


def _transformers(folder: Path) -> ModelFacts:
    from musicgen_train.formats.files import read_json
    from musicgen_train.formats.transformers_lm_config import describe
    from musicgen_train.formats.transformers_processor import read_max_duration

    described = describe(folder)
    codec = read_json(folder / "config.json")["audio_encoder"]
    rate = int(codec.get("sampling_rate", 24_000))
    frame_rate = rate / math.prod(codec.get("upsampling_ratios", [8, 5, 4, 2]))
    return ModelFacts(
        True,
        described.lm.get("chroma_dim") is not None,
        _seconds(described.max_duration or read_max_duration(folder, frame_rate)),
        rate,
        2 if described.stereo else int(codec.get("audio_channels", 1)),
    )


def _audiocraft(folder: Path) -> ModelFacts:
    from musicgen_train.formats.audiocraft_lm_config import describe
    from musicgen_train.formats.files import read_pickle
    from musicgen_train.formats.xp_config import XpConfig

    path = folder / _AUDIOCRAFT
    content = read_pickle(path, mapped=True)
    xp = XpConfig(content["xp.cfg"], path)
    described = describe(xp, content["best_state"])
    return ModelFacts(
        described.t5 is not None,
        described.chroma is not None,
        _seconds(described.max_duration),
        int(xp.get("sample_rate", 32_000)),
        2 if described.stereo else 1,
    )


def _lightning(path: Path) -> ModelFacts:
    from musicgen_train.formats import load_codec
    from musicgen_train.formats.lightning_checkpoint import read_training

    task = read_training(path).task
    codec = load_codec(task["codec_path"])
    return ModelFacts(
        task.get("text_encoder") is not None,
        task.get("chroma") is not None,
        _seconds(task["max_duration"]),
        codec.sample_rate,
        codec.channels,
    )


def _seconds(value: Any) -> float:
    seconds = float(value)
    if not 0 < seconds <= 3600:
        raise ValueError(seconds)
    return seconds
