"""An adapter's folder: peft's own two files, and adapter.json with what we know of it.

adapter_config.json and adapter_model.safetensors are as peft publishes them. adapter.json, which is
written last, says which model it belongs to and how it came about.
"""

from pathlib import Path
from typing import Any, NamedTuple

from safetensors import SafetensorError, safe_open
from torch import Tensor

from musicgen_train.adapters.identity import BaseIdentity, describe_identity, read_identity
from musicgen_train.adapters.low_rank import Kind, LowRank, linear_sizes, low_rank, matrices_in
from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief, path_of, read_json, write_json, write_tensors
from musicgen_train.formats.value_rules import TEXT, Rule, number, whole
from musicgen_train.lm.model import LanguageModel

CONFIG, WEIGHTS, RECORD = "adapter_config.json", "adapter_model.safetensors", "adapter.json"
FORMAT, VERSION = "musicgen_train adapter", 1
PREFIX = "base_model.model."  # of every tensor's name, as peft writes them
_LARGEST_JSON = 2**25  # bytes; that of the largest model has 2^18

_RULES: dict[str, Rule] = {
    "peft_type": Rule("'LORA'", lambda value: value == "LORA"),
    "r": whole(1, 4096),
    "lora_alpha": number(1e-6, 1e6),
    "use_dora": Rule("true or false", lambda value: type(value) is bool),
    "bias": Rule("'none'", lambda value: value == "none"),
    "init_lora_weights": Rule(
        "true, false or 'gaussian'", lambda value: type(value) is bool or value == "gaussian"
    ),  # others move the base's weights
}
# What changes nothing of what an adapter computes once it is trained.
_OF_NO_EFFECT = (
    "task_type", "auto_mapping", "peft_version", "base_model_name_or_path", "revision",
    "inference_mode", "target_modules", "exclude_modules", "lora_dropout", "megatron_core",
    "qalora_group_size", "layers_pattern", "layers_to_transform", "runtime_config",
)  # fmt: skip


class AdapterRecord(NamedTuple):
    """Where an adapter comes from."""

    name: str
    base: BaseIdentity
    base_name: str
    trigger: str | None = None  # words that bring its style out
    training: dict[str, Any] | None = None  # steps, songs, …
    licence: str | None = None


class Adapter(NamedTuple):
    """A folder that was looked at; its tensors are still on disk."""

    folder: Path
    kind: Kind
    record: AdapterRecord
    shapes: dict[str, list[int]]  # of its tensors, without peft's prefix

    def matrices(self, lm: LanguageModel) -> dict[str, LowRank]:
        """What it does to the matrices of a language model; one that it does not fit is refused."""
        source, linears = self.folder / WEIGHTS, linear_sizes(lm)
        matrices_in(self.shapes, self.kind, linears, source)  # before anything is read
        with _weights(source) as file:
            state = {name: file.get_tensor(PREFIX + name).clone() for name in self.shapes}
        return low_rank(state, self.kind, linears, source)


def read_adapter(path: str | Path) -> Adapter:
    """Look at an adapter's folder; what is broken, or of a kind unknown here, is refused."""
    folder = path_of(path)
    if not (folder / CONFIG).is_file():
        inner = folder / "adapter"
        hint = f"; give {inner}" if (inner / CONFIG).is_file() else ""
        raise UserError(f"no adapter at {folder}: it has no {CONFIG}{hint}")
    if not (folder / RECORD).is_file():
        raise UserError(
            f"{folder} has no {RECORD}, so that nobody knows which model it belongs to: give an "
            "adapter that train.py exported"
        )
    kind = _kind(_small_json(folder / CONFIG), folder / CONFIG)
    record = _record(_small_json(folder / RECORD), folder / RECORD)
    with _weights(folder / WEIGHTS) as file:
        shapes = {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118
    for name in shapes:
        if not name.startswith(PREFIX):
            raise UserError(f"{folder / WEIGHTS}: {brief(name)} is no tensor of peft's: export the "
                            "adapter again")  # fmt: skip
    return Adapter(
        folder, kind, record, {name.removeprefix(PREFIX): shape for name, shape in shapes.items()}
    )


def write_adapter(
    folder: Path, state: dict[str, Tensor], config: dict[str, Any], record: AdapterRecord
) -> Path:
    """Write an adapter's folder from peft's tensors (without a prefix) and its configuration."""
    (folder / RECORD).unlink(missing_ok=True)  # of another adapter
    write_tensors({PREFIX + name: t for name, t in state.items()}, folder / WEIGHTS)
    write_json(config, folder / CONFIG)
    known = {
        "trigger": record.trigger,
        "licence": record.licence,
        "training": record.training,
    }
    content = {
        "format": FORMAT,
        "version": VERSION,
        "name": record.name,
        **{name: value for name, value in known.items() if value},
        "base": {"name": record.base_name, **describe_identity(record.base)},
    }
    write_json(content, folder / RECORD)
    return folder


def _kind(config: Any, path: Path) -> Kind:
    """From peft's configuration; an option that is not known here must not be used."""
    if not isinstance(config, dict):
        raise UserError(f"{path} is no configuration of peft: copy or export the adapter again")
    config = {"use_dora": False, "bias": "none", "init_lora_weights": True, **config}
    for name, rule in _RULES.items():
        if not rule.fits(config.get(name)):
            raise UserError(
                f"{path}: {name} is {brief(config.get(name))}, but should be {rule.wanted}"
            )
    for name, value in config.items():
        if name not in _RULES and name not in _OF_NO_EFFECT and value:
            raise UserError(
                f"{path}: {brief(name)} is {brief(value)}: adapters of that kind are not known here"
            )
    scale = config["lora_alpha"] / config["r"]
    return Kind(config["r"], scale, config["use_dora"])


def _record(content: Any, path: Path) -> AdapterRecord:
    content = content if isinstance(content, dict) else {}
    version = content.get("version")
    if content.get("format") != FORMAT or type(version) is not int or version > VERSION:
        raise UserError(f"{path} is no record of an adapter of version <= {VERSION}: export the "
                        "adapter again")  # fmt: skip
    base = content.get("base")
    training = content.get("training")
    return AdapterRecord(
        _text(content, "name", path) or "adapter",
        read_identity(base, path),
        _text(base if isinstance(base, dict) else {}, "name", path) or "a model without a name",
        _text(content, "trigger", path),
        training if isinstance(training, dict) else None,
        _text(content, "licence", path),
    )


def _text(content: dict[str, Any], name: str, path: Path) -> str | None:
    value = content.get(name)
    if value is not None and not TEXT.fits(value):
        raise UserError(f"{path}: {name} is {brief(value)}, but should be {TEXT.wanted}")
    return value


def _small_json(path: Path) -> Any:
    try:
        size = path.stat().st_size
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
    if size > _LARGEST_JSON:
        raise UserError(f"{path} has {size / 1e6:.0f} MB, which no adapter's has: export it again")
    return read_json(path)


def _weights(path: Path) -> Any:
    """The open safetensors file."""
    if not path.is_file():
        raise UserError(f"{path} is missing: copy the whole folder")
    try:
        return safe_open(str(path), "pt")
    except SafetensorError as error:
        raise UserError(f"{path} is truncated or corrupt ({error}): copy it again") from None
    except OSError as error:
        raise UserError(f"{path} cannot be read: {error.strerror or error}") from None
