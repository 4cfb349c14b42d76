"""The weights of a transformers folder, however they were saved."""

from pathlib import Path

from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.files import read_json, read_pickle, read_tensors


def read_weights(folder: Path, prefix: str, *others: str) -> dict[str, Tensor]:
    """The tensors under a prefix: of one safetensors file, of several, or of an old pickle.

    One prefix is left out of the names; of several, the names are whole.
    """
    prefixes = (prefix, *others)
    index, pickled = folder / "model.safetensors.index.json", folder / "pytorch_model.bin"
    if (folder / "model.safetensors").is_file() or not (index.is_file() or pickled.is_file()):
        state = _read_file(folder / "model.safetensors", prefixes)
    elif index.is_file():
        state = _read_shards(index, prefixes)
    else:
        state = _read_pickle(pickled, prefixes)
    if others:
        return state
    return {name.removeprefix(prefix): tensor for name, tensor in state.items()}


def _read_file(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    return {
        prefix + name: tensor
        for prefix in prefixes
        for name, tensor in read_tensors(path, prefix).items()
    }


def _read_shards(index: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        raise UserError(f"{index} has no weight_map: copy the folder again")
    # A stranger's index names files of its own folder, and no others.
    shards = {Path(str(file)).name for name, file in files.items() if name.startswith(prefixes)}
    weights: dict[str, Tensor] = {}
    for shard in sorted(shards):
        weights |= _read_file(index.parent / shard, prefixes)
    return weights


def _read_pickle(path: Path, prefixes: tuple[str, ...]) -> dict[str, Tensor]:
    state = read_pickle(path)
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise UserError(f"{path} holds no flat mapping of tensors: export the model again")
    return {name: tensor for name, tensor in state.items() if name.startswith(prefixes)}
