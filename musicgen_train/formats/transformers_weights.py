"""The weights of a transformers folder, however they were saved."""

from pathlib import Path

from torch import Tensor

from musicgen_train.errors import UserError
from musicgen_train.formats.files import read_json, read_pickle, read_tensors


def read_weights(folder: Path, prefix: str) -> dict[str, Tensor]:
    """The tensors under a prefix: of one safetensors file, of several, or of an old pickle."""
    index, pickled = folder / "model.safetensors.index.json", folder / "pytorch_model.bin"
    if (folder / "model.safetensors").is_file() or not (index.is_file() or pickled.is_file()):
        return read_tensors(folder / "model.safetensors", prefix)
    if index.is_file():
        return _read_shards(index, prefix)
    state = read_pickle(pickled)
    if not isinstance(state, dict) or not all(isinstance(t, Tensor) for t in state.values()):
        raise UserError(f"{pickled} holds no flat mapping of tensors: export the model again")
    return {k.removeprefix(prefix): t for k, t in state.items() if k.startswith(prefix)}


def _read_shards(index: Path, prefix: str) -> dict[str, Tensor]:
    content = read_json(index)
    files = content.get("weight_map") if isinstance(content, dict) else None
    if not isinstance(files, dict):
        raise UserError(f"{index} has no weight_map: copy the folder again")
    # A stranger's index names files of its own folder, and no others.
    shards = {Path(str(file)).name for name, file in files.items() if name.startswith(prefix)}
    weights: dict[str, Tensor] = {}
    for shard in sorted(shards):
        weights |= read_tensors(index.parent / shard, prefix)
    return weights
