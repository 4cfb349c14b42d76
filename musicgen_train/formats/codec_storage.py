"""A codec's tensors as a file holds them: in half the size where that loses no bit."""

import torch
from torch import Tensor

from musicgen_train.codec.encodec import Encodec

# What training counts and averages: no code depends on it, and halving it would save nothing.
_AVERAGES = ("inited", "cluster_size", "embed_avg")


def to_storage(codec: Encodec) -> dict[str, Tensor]:
    """The tensors to write: `from_storage` gives them back bit for bit, as float32.

    They are float16 if every weight is exactly representable so. Sums of clusters that follow from
    centroids and sizes are left out.
    """
    state = codec.state_dict()
    weights = {name: t for name, t in state.items() if not name.endswith(_AVERAGES)}
    if all(torch.equal(tensor.half().float(), tensor) for tensor in weights.values()):
        state.update({name: tensor.half() for name, tensor in weights.items()})
    for name, derived in _cluster_sums(state).items():
        if torch.equal(state[name], derived):
            del state[name]
    return state


def from_storage(stored: dict[str, Tensor]) -> dict[str, Tensor]:
    """A codec's state from a file, which is not trusted: with the sums that were left out."""
    return {**_cluster_sums(stored), **stored}


def _cluster_sums(state: dict[str, Tensor]) -> dict[str, Tensor]:
    """embed_avg of every codebook whose centroids [card, D] and sizes [card] fit each other."""
    sums = {}
    for name, sizes in state.items():
        codebook = name.removesuffix("cluster_size")
        centroids = state.get(f"{codebook}embed")
        if codebook == name or centroids is None:
            continue
        if centroids.dim() == 2 and sizes.shape == centroids.shape[:1]:
            sums[f"{codebook}embed_avg"] = centroids.float() * sizes.float()[:, None]
    return sums
