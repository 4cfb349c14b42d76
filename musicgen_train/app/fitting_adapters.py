"""Which adapters belong to a checkpoint, told without loading its weights."""

import functools
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from musicgen_train.errors import UserError

if TYPE_CHECKING:
    from musicgen_train.adapters.adapter_file import AdapterRecord
    from musicgen_train.lm.model import LanguageModel


class _Known(NamedTuple):
    """What the files of a checkpoint tell of its identity; None for what they do not."""

    shape: dict[str, Any] | None = None
    samples: dict[str, list[float]] | None = None


def fits(record: "AdapterRecord", source: str) -> bool:
    """Whether an adapter belongs to a checkpoint, as far as that can be told without loading it.

    A native one is known by its weights, others by their shapes; loading compares all.
    """
    from musicgen_train.adapters.identity import BaseIdentity
    from musicgen_train.formats.hub import hub_id

    known = _known(source)
    if known.samples is not None and known.shape is not None:
        return BaseIdentity(known.shape, known.samples).is_of(record.base)
    if known.shape is not None:
        return known.shape == record.base.shape
    return record.base_name in (source, hub_id(source))


def adapter_record(folder: Path) -> "AdapterRecord":
    """What an adapter's folder says of it; `UserError` if it is no sound adapter."""
    return _record(str(folder), stamp(str(folder)))


def stamp(source: str) -> int:
    """Changes when the files of a checkpoint or an adapter do; 0 for a name."""
    described = ("config.json", "model.safetensors", "state_dict.bin", "adapter.json")
    path, times = Path(source), []
    for file in (path, *(path / name for name in described)):
        try:
            times.append(file.stat().st_mtime_ns)
        except (OSError, ValueError):
            continue
    return max(times, default=0)


@functools.lru_cache(maxsize=256)
def _record(folder: str, stamp: int) -> "AdapterRecord":
    from musicgen_train.adapters.adapter_file import read_adapter

    return read_adapter(folder).record


def _known(source: str) -> _Known:
    from musicgen_train.formats.hub import cached, hub_id
    from musicgen_train.formats.models import locate

    repository = hub_id(source)
    if repository is not None and not Path(source).exists():
        folder = cached(repository)
        return _Known() if folder is None else _transformers(str(folder), stamp(str(folder)))
    try:
        layout, path, _ = locate(source)
    except UserError:
        return _Known()
    read = {"native": _native, "transformers": _transformers}.get(layout)
    return _Known() if read is None else read(str(path), stamp(str(path)))


@functools.lru_cache(maxsize=32)
def _native(folder: str, stamp: int) -> _Known:
    """All of the identity: rows of the weights' file are read, and no more."""
    from safetensors import SafetensorError, safe_open

    from musicgen_train.adapters.identity import shape_of
    from musicgen_train.formats.native import read_config

    path = Path(folder)
    lm = _empty_lm(read_config(path).get("lm"), path / "config.json")
    if lm is None:
        return _Known()
    try:
        with safe_open(str(path / "model.safetensors"), "pt") as file:
            samples = {name: _sampled(file, f"lm.{name}") for name in lm.state_dict()}
    except (SafetensorError, OSError, IndexError):
        return _Known(shape_of(lm))
    return _Known(shape_of(lm), samples)


def _sampled(file: Any, name: str) -> list[float]:
    """The values of a stored tensor that its identity is made of."""
    from musicgen_train.adapters.identity import sampled_places

    stored = file.get_slice(name)
    shape = stored.get_shape() or [1]
    row = math.prod(shape[1:])
    places = [divmod(place, row) for place in sampled_places(math.prod(shape))]
    return [float(stored[first : first + 1].flatten()[rest]) for first, rest in places]


@functools.lru_cache(maxsize=32)
def _transformers(folder: str, stamp: int) -> _Known:
    """The shape; the weights there are in other pieces."""
    from musicgen_train.adapters.identity import shape_of
    from musicgen_train.formats.transformers_lm_config import NAMES, describe

    try:
        described = describe(Path(folder))
    except UserError:
        return _Known()
    lm = _empty_lm(described.lm, Path(folder), NAMES)
    return _Known() if lm is None else _Known(shape_of(lm))


def _empty_lm(
    config: Any, path: Path, names: dict[str, str] | None = None
) -> "LanguageModel | None":
    from musicgen_train.formats.lm_building import empty_lm

    try:
        return empty_lm(config, path, names)
    except UserError:
        return None
