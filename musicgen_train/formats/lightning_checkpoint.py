"""Checkpoints that train.py writes (*.ckpt): their configuration and weights, and nothing run.

The configuration names classes. They are compared with the few that are known here: nothing is
ever imported by a name from a file.
"""

from pathlib import Path
from typing import Any, NamedTuple

from torch import Tensor

from musicgen_train.codec.encodec import Encodec
from musicgen_train.codec.stereo import StereoCodec
from musicgen_train.errors import UserError
from musicgen_train.formats.adapter_checkpoint import load_base, merge_trained
from musicgen_train.formats.codec_building import build_codec
from musicgen_train.formats.conditioning_building import build_chroma, build_text_encoder
from musicgen_train.formats.files import brief, read_pickle
from musicgen_train.formats.lm_building import build_lm
from musicgen_train.formats.value_rules import SECONDS, TEXT
from musicgen_train.lm.model import LanguageModel
from musicgen_train.musicgen import MusicGen

_MODEL_TASK = "musicgen_train.training.lm_module.MusicGenModule"
_CODEC_TASK = "musicgen_train.training.codec_module.CodecModule"
_LM = "musicgen_train.lm.model.LanguageModel"
_CODEC = "musicgen_train.codec.encodec.Encodec"
_CHROMA = "musicgen_train.conditioning.chroma.ChromaExtractor"
_TEXT_ENCODERS = {
    "musicgen_train.conditioning.text.WordTextEncoder": "words",
    "musicgen_train.conditioning.text.T5TextEncoder": "t5",
}


class Training(NamedTuple):
    """What a checkpoint says of its model; all of it a stranger's."""

    config: dict[str, Any]  # the resolved configuration of the run
    task: dict[str, Any]  # its section `task`: the arguments of the LightningModule
    state: dict[str, Tensor]
    step: Any
    adapter: Any = None  # what kind of an adapter it is, and of which base


def read_training(path: Path) -> Training:
    """Open a checkpoint of train.py; its tensors stay on disk until they are used."""
    content = read_pickle(path, mapped=True)
    config = content.get("config") if isinstance(content, dict) else None
    task = config.get("task") if isinstance(config, dict) else None
    if not isinstance(task, dict) or task.get("_target_") not in (_MODEL_TASK, _CODEC_TASK):
        found = brief(task.get("_target_")) if isinstance(task, dict) else "no task"
        raise UserError(
            f"{path} is no checkpoint of train.py, or of a later one ({found}): give a *.ckpt of "
            "runs/NAME/checkpoints"
        )
    state = content.get("state_dict")
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise UserError(f"{path}: state_dict is missing or no flat mapping: take another one")
    assert isinstance(config, dict)
    return Training(config, task, state, content.get("global_step"), content.get("adapter"))


def is_codec_training(path: Path) -> bool:
    """Whether a checkpoint is of a codec; else it is of a MusicGen."""
    return read_training(path).task["_target_"] == _CODEC_TASK


def read_lightning_lm(path: Path) -> LanguageModel:
    """Load the bare language model of a checkpoint."""
    training = _model_training(path)
    if training.task.get("adapter") is not None:
        return _adapted(training, path).lm
    return _build_lm(training, path)


def read_lightning_musicgen(path: Path) -> MusicGen:
    """Load everything that generates; the codec comes from where the run had it."""
    training = _model_training(path)
    task = training.task
    for name, rule in (("name", TEXT), ("max_duration", SECONDS)):
        if not rule.fits(task.get(name)):
            raise UserError(
                f"{path}: {name} is {brief(task.get(name))}, but should be {rule.wanted}"
            )
    codec = _codec_of_the_run(task.get("codec_path"), path)
    if task.get("adapter") is not None:
        model = _adapted(training, path)
        lm, text_encoder = model.lm, model.text_encoder
    else:
        lm, text_encoder = _build_lm(training, path), _build_text_encoder(training, path)
    return MusicGen(
        task["name"],
        codec,
        lm,
        text_encoder,
        build_chroma(_arguments(task.get("chroma"), _CHROMA, "chroma", path), path),
        max_duration=task["max_duration"],
    )


def read_lightning_codec(path: Path) -> Encodec | StereoCodec:
    """Load the codec of a checkpoint: the one it trains, or the one of its language model."""
    training = read_training(path)
    if training.task["_target_"] == _MODEL_TASK:
        return _codec_of_the_run(training.task.get("codec_path"), path)
    config = _arguments(training.task.get("codec"), _CODEC, "codec", path)
    # As exported: the average of the weights, if the run kept one.
    state = _part(training.state, "average.module.") or _part(training.state, "codec.")
    return build_codec(config, state, path)


def _model_training(path: Path) -> Training:
    training = read_training(path)
    if training.task["_target_"] != _MODEL_TASK:
        raise UserError(f"{path} holds a codec, not a language model: give one of a model's run")
    return training


def _adapted(training: Training, path: Path) -> MusicGen:
    """The base of a run that trains an adapter, with the adapter in its weights."""
    model = load_base(training.config.get("init_from"), path)
    state = _trained_part(training.state, "lm.")
    merge_trained(model.lm, training.adapter, state, path)
    return model


def _build_lm(training: Training, path: Path) -> LanguageModel:
    config = _arguments(training.task.get("lm"), _LM, "language model", path)
    return build_lm(config, _trained_part(training.state, "lm."), path)


def _build_text_encoder(training: Training, path: Path) -> Any:
    section = training.task.get("text_encoder")
    if section is not None:
        target = section.get("_target_") if isinstance(section, dict) else None
        if not isinstance(target, str) or target not in _TEXT_ENCODERS:
            raise UserError(f"{path}: the text encoder is {brief(section)}: that is not known here")
        section = _arguments(section, target, "text encoder", path)
        section = {"type": _TEXT_ENCODERS[target], **section}
    return build_text_encoder(section, _trained_part(training.state, "text_encoder."), path, path)


def _codec_of_the_run(codec_path: Any, path: Path) -> Encodec | StereoCodec:
    from musicgen_train.formats.codecs import load_codec  # which reads checkpoints too

    if not TEXT.fits(codec_path):
        raise UserError(f"{path} names no codec (codec_path is {brief(codec_path)})")
    try:
        return load_codec(codec_path)
    except UserError as error:
        raise UserError(
            f"{path} was trained with the codec {codec_path}, which cannot be loaded ({error}): "
            "put it there, or run from the directory that the training ran in"
        ) from None


def _arguments(section: Any, target: str, part: str, path: Path) -> Any:
    """What the class `target` was given; None for null."""
    if section is None:
        return None
    found = section.get("_target_") if isinstance(section, dict) else None
    if found != target:
        raise UserError(f"{path}: the {part} is a {brief(found)}, which is not known here")
    return {name: value for name, value in section.items() if name != "_target_"}


def _trained_part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    """A part's weights as they are exported: their average, once the run has taken any."""
    n_averaged = state.get("average.n_averaged")
    # Before its first step an average is what the run started with, not what it learnt.
    averaged = n_averaged is not None and bool((n_averaged > 0).all())
    return (_part(state, f"average.module.{prefix}") if averaged else {}) or _part(state, prefix)


def _part(state: dict[str, Tensor], prefix: str) -> dict[str, Tensor]:
    # Copies: the file is mapped into memory, and a later checkpoint may take its name.
    return {k.removeprefix(prefix): t.clone() for k, t in state.items() if k.startswith(prefix)}
