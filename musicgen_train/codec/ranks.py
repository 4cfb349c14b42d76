"""What the codebooks need from torch.distributed; with one process every call gives x itself."""

import torch
import torch.distributed as dist
from torch import Tensor


def n_ranks() -> int:
    return dist.get_world_size() if dist.is_available() and dist.is_initialized() else 1


def sum_over_ranks(x: Tensor) -> Tensor:
    """The sum of every rank's x, equal to the last bit on all of them."""
    if n_ranks() > 1:
        dist.all_reduce(x)
    return x


def from_first_rank(x: Tensor) -> Tensor:
    """Rank 0's x, on every rank."""
    if n_ranks() > 1:
        dist.broadcast(x, src=0)
    return x


def gather_rows(x: Tensor) -> Tensor:
    """Every rank's x [M, D], in order of rank: [sum of M, D]; M may differ between ranks."""
    if n_ranks() == 1:
        return x
    sizes = [x.new_zeros(1, dtype=torch.long) for _ in range(n_ranks())]
    dist.all_gather(sizes, torch.tensor([len(x)], device=x.device))
    largest = int(torch.cat(sizes).max())
    padded = torch.cat([x, x.new_zeros(largest - len(x), x.shape[1])])
    parts = [torch.empty_like(padded) for _ in range(n_ranks())]
    dist.all_gather(parts, padded)
    return torch.cat([part[: int(size)] for part, size in zip(parts, sizes, strict=True)])
