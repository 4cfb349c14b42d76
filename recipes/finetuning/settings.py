"""What a fine-tuning was asked for, checked before anything is loaded."""

import os
import re
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from musicgen_train.errors import UserError

METHODS = ("lora", "dora", "full")
SEPARATORS = ("auto", "demucs", "stems", "none")
LONGEST_TRIGGER = 100  # characters; a text encoder hears so many beside a caption
LONGEST_NAME = 60
LEAST_SHARE = 0.001  # of a mixture that is drawn at all
LARGEST_SEED = 2**31  # so that those of single clips, counted from it, are seeds too
SAMPLING = ("cfg_coef", "top_k", "temperature")


@dataclass(frozen=True)
class Settings:
    """The keys of conf/finetune.yaml."""

    input_dir: str
    base: str
    trigger: str
    name: str
    method: str
    stage: tuple[str, ...]  # empty: all
    estimate: bool
    preset: str | None
    device: str | None
    num_workers: int | None
    separator: str
    demucs_model: str
    demucs_repo: str | None
    metadata: str | None
    exclude_tags: Any
    clap_model: str | None
    segment_duration: float | None
    min_duration: float
    held_out: int | None
    steps: int | None
    batch_size: int | None
    lr: float | None
    rank: int | None
    alpha: float | None
    adapter_dropout: float
    targets: list[str] | None
    prior_share: float
    prior_clips: int | None
    train: dict[str, Any]
    clips: int | None
    shown: int
    sampling: dict[str, Any]
    seed: int


def read_settings(given: dict[str, Any]) -> Settings:
    """The settings of a resolved configuration; UserError names what cannot be meant."""
    given = {field.name: given[field.name] for field in fields(Settings)}
    _check_texts(given)
    given |= {
        "input_dir": _checked_folder(given["input_dir"]),
        "base": str(given["base"] or ""),
        "trigger": checked_trigger(given["trigger"]),
        "stage": _as_list(given["stage"]),
        "demucs_repo": _as_text(given["demucs_repo"]),
        "metadata": _as_text(given["metadata"]),
        "clap_model": _as_text(given["clap_model"]),
        "train": given["train"] or {},
    }
    given["name"] = checked_name(given["name"], given["input_dir"])
    settings = Settings(**given)
    _check_choices(settings)
    _check_kinds(settings)
    _check_numbers(settings)
    _check_sampling(settings.sampling)
    return settings


def checked_trigger(trigger: Any) -> str:
    """The trigger on one line; "" without one."""
    text = " ".join(str(trigger if trigger is not None else "").split()).strip(" ,.")
    if any(unicodedata.category(letter) in ("Cc", "Cs") for letter in text):
        raise UserError("trigger: holds control characters or broken UTF-8; type it anew")
    if len(text) > LONGEST_TRIGGER:
        raise UserError(
            f"trigger: has {len(text)} characters; a few words are enough, {LONGEST_TRIGGER} the "
            "most"
        )
    if is_configuration(text):
        raise UserError(f"trigger: {text} means something else to a configuration; use other words")
    return text


def is_configuration(text: str) -> bool:
    """Whether no configuration can hold a text as it stands: OmegaConf reads it anew each time."""
    return "${" in text or text == "???"


def checked_name(name: Any, input_dir: str) -> str:
    """The run's name: as given, or made of the folder's."""
    if name is None:
        return _slug(Path(input_dir).resolve().name)
    name = str(name)
    if not name or _slug(name) != name:
        raise UserError(
            f"name={name!r}: give letters, digits, - and _ only, such as {_slug(name)!r}"
        )
    return name


def _slug(text: str) -> str:
    """Letters and digits of any language, - and _, and dots inside."""
    text = unicodedata.normalize("NFC", text)
    text = re.sub(r"[^\w.-]+", "_", text).strip("._-")
    return text[:LONGEST_NAME].rstrip("._-") or "songs"


def _checked_folder(input_dir: Any) -> str:
    if input_dir is None or not str(input_dir).strip():
        raise UserError("input_dir is missing: give input_dir=FOLDER, the folder of your songs")
    folder = str(input_dir)
    if "://" in folder:
        raise UserError(f"{folder}: is a URL; copy the songs to this machine first")
    if os.path.isfile(folder):
        raise UserError(f"{folder} is a file: give the folder that it is in")
    if not os.path.isdir(folder):  # nor may it be looked at
        raise UserError(f"{folder}: no such folder of songs; check input_dir")
    return folder


def _as_text(value: Any) -> str | None:
    return None if value is None else str(value)


def _as_list(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    values = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    return tuple(str(entry) for entry in values)


def _check_texts(given: dict[str, Any]) -> None:
    """Refuse names of bytes that are no text: neither records nor messages could hold them."""
    for name, value in given.items():
        try:
            str(value).encode()
        except UnicodeEncodeError:
            raise UserError(f"{name}={str(value)!a}: is not UTF-8; rename or retype it") from None


def _check_choices(settings: Settings) -> None:
    for name, known in (("method", METHODS), ("separator", SEPARATORS)):
        if (value := getattr(settings, name)) not in known:
            raise UserError(f"{name}={value}: use one of {', '.join(known)}")
    if not settings.base:
        raise UserError("base is missing: give a model, such as base=small, or its folder")
    if settings.metadata is not None and not os.path.isfile(settings.metadata):
        raise UserError(f"metadata={settings.metadata}: no such table; check the path")


def _check_kinds(settings: Settings) -> None:
    if not isinstance(settings.estimate, bool):
        raise UserError(f"estimate={settings.estimate}: give true or false")
    if not isinstance(settings.train, dict):
        raise UserError(f"train={settings.train}: give train.KEY=VALUE with a key of train.py")
    words = settings.exclude_tags
    words = [words] if isinstance(words, str) else words or []
    if not isinstance(words, list) or not all(isinstance(word, str) for word in words):
        raise UserError(f"exclude_tags={words}: give words, such as [live,demo], or vocals")


def _check_sampling(sampling: Any) -> None:
    """Refuse what nothing can be generated with."""
    from musicgen_train.generation_params import GenerationParams

    if not isinstance(sampling, dict) or sampling.keys() != set(SAMPLING):
        raise UserError(f"sampling={sampling}: give sampling.KEY=VALUE with {', '.join(SAMPLING)}")
    try:
        GenerationParams(**sampling)
    except UserError as error:
        raise UserError(f"sampling: {error}") from None


def _check_numbers(settings: Settings) -> None:
    least = {
        "num_workers": 0, "held_out": 0, "steps": 1, "batch_size": 1, "rank": 1, "prior_clips": 1,
        "clips": 1, "shown": 1, "seed": 0,
    }  # fmt: skip
    for name, lowest in least.items():
        value = getattr(settings, name)
        if value is not None and (type(value) is not int or value < lowest):
            raise UserError(f"{name}={value}: give a whole number, at least {lowest}")
    if settings.seed >= LARGEST_SEED:
        raise UserError(f"seed={settings.seed}: give one below {LARGEST_SEED}")
    for name in ("lr", "alpha", "segment_duration", "min_duration"):
        value = getattr(settings, name)
        if value is not None and not (_is_number(value) and 0 < value < 1e6):
            raise UserError(f"{name}={value}: give a number above 0")
    if 0 < _number(settings.prior_share) < LEAST_SHARE:
        raise UserError(f"prior_share={settings.prior_share}: give 0, or at least {LEAST_SHARE}")
    for name in ("prior_share", "adapter_dropout"):
        value = getattr(settings, name)
        if not (_is_number(value) and 0 <= value < 1):
            raise UserError(f"{name}={value}: give a share from 0 to below 1")


def _number(value: Any) -> float:
    return value if _is_number(value) else 0.0


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
