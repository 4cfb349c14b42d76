"""The weights of a transformers folder, however they were saved."""

from pathlib import Path

from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.files import brief, read_json, read_pickle, read_tensors

_FILES = ("model.safetensors", "pytorch_model.bin")  # or their shards, which an index names
_INDEX = ".index.json"


def whole_weights(folder: Path) -> Path | None:
    """The file of a folder's weights, or the index of shards that are all there."""
    for path in _candidates(folder):
        if path.is_file() and (path.suffix != ".json" or _has_shards(path)):
            return path
    return None


def read_weights(folder: Path, prefix: str, *others: str) -> dict[str, Tensor]:
    """The tensors under a prefix: of one safetensors file or old pickle, or of several.

    One prefix is left out of the names; of several, the names are whole.
    """
    prefixes = (prefix, *others)
    # Without a whole one, an incomplete one says what it lacks.
    there = [path for path in _candidates(folder) if path.is_file()]
    path = whole_weights(folder) or (there[0] if there else folder / _FILES[0])
    state: dict[str, Tensor] = {}
    for file in _shards(path, prefixes) if path.suffix == ".json" else [path]:
        state |= _read_file(file, prefixes)
    if others:
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _candidates(folder: Path) -> list[Path]:
    return [folder / f"{name}{end}" for name in _FILES for end in ("", _INDEX)]


def _has_shards(index: Path) -> bool:
    try:
        return all(shard.is_file() for shard in _shards(index, ("",)))
    except UserError:
        return False


def _shards(index: Path, prefixes: tuple[str, ...]) -> list[Path]:
    """The files of the tensors under the prefixes."""
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        raise UserError(f"{index} has no weight_map: copy the folder again")
    # A stranger's index names files of its own folder, and no others, and all of one kind.
    kind = index.name.removesuffix(_INDEX).rsplit(".", 1)[1]
    names = {Path(str(file)).name for name, file in files.items() if name.startswith(prefixes)}
    for name in sorted(names):
        if not name.endswith(f".{kind}"):
            raise UserError(f"{index} names {brief(name)}, which is no .{kind} file")
    return [index.parent / name for name in sorted(names)]


def _read_file(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    if path.suffix == ".bin":
        return _read_pickle(path, prefixes)
    return {
        prefix + name: tensor
        for prefix in prefixes
        for name, tensor in read_tensors(path, prefix).items()
    }


def _read_pickle(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    state = read_pickle(path)
    if not isinstance(state, dict) or not all(
        isinstance(name, str) and isinstance(tensor, Tensor) for name, tensor in state.items()
    ):
        raise UserError(f"{path} holds no flat mapping of tensors: export the model again")
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}
