"""Weights and files by their content."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from torch import nn

from musicgen_train.errors import UserError
from musicgen_train.formats.files import read_json
from musicgen_train.formats.transformers_weights import whole_weights


def sha256_of(path: Path) -> str:
    """All 64 hex digits of a file's SHA-256."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def folder_sha256(folder: Path) -> str:
    """SHA-256 of the weights of a transformers folder: of its file, or of its shards' digests."""
    weights = whole_weights(folder)
    if weights is None:
        raise UserError(f"{folder} lacks model.safetensors: copy the whole folder")
    if weights.suffix != ".json":
        return sha256_of(weights)
    shards = sorted(set(read_json(weights)["weight_map"].values()))
    digests = "".join(sha256_of(folder / Path(shard).name) for shard in shards)
    return hashlib.sha256(digests.encode()).hexdigest()


def weights_digest(module: nn.Module) -> str:
    """SHA-256 of all weights and their names, 64 hex digits."""
    digest = hashlib.sha256()
    for name, value in sorted(module.state_dict().items()):
        digest.update(name.encode())
        # numpy knows no bfloat16: bytes are bytes.
        digest.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy())
    return digest.hexdigest()
