"""Two processes end with the codebooks that one has on their batches joined."""

from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as mp

from musicgen_train.codec.ranks import from_first_rank, gather_rows, n_ranks, sum_over_ranks
from musicgen_train.codec.rvq import ResidualVectorQuantizer

STEPS = 12


def train(latents: torch.Tensor) -> dict[str, torch.Tensor]:
    """Let codebooks start, follow latents [STEPS, B, D, T] and replace dead codes."""
    torch.manual_seed(0)
    quantizer = ResidualVectorQuantizer(
        dimension=4, n_q=3, card=16, decay=0.5, dead_code_threshold=1.0, dropout=True
    )
    for step, batch in enumerate(latents):
        # As in training: rank 0 draws what a single process would draw.
        torch.manual_seed(step if not dist.is_initialized() else step + 1000 * dist.get_rank())
        quantizer(batch)
    return quantizer.state_dict()


def one_rank(rank: int, folder: str, latents: torch.Tensor) -> None:
    dist.init_process_group("gloo", init_method=f"file://{folder}/meet", rank=rank, world_size=2)
    # Rank 1 has fewer rows: the last batch of an epoch may be uneven.
    share = latents[:, :3] if rank == 0 else latents[:, 3:]
    torch.save(train(share), f"{folder}/{rank}.pt")
    if rank == 0:
        rows = {"sum": sum_over_ranks(torch.ones(2)), "first": from_first_rank(torch.zeros(1))}
    else:
        rows = {"sum": sum_over_ranks(torch.ones(2)), "first": from_first_rank(torch.ones(1))}
    rows["rows"] = gather_rows(torch.full((1 + rank, 2), float(rank)))
    torch.save(rows, f"{folder}/calls{rank}.pt")
    dist.destroy_process_group()


@pytest.fixture(scope="module")
def latents() -> torch.Tensor:
    """Latents that move, so that codes die on the way."""
    rng = torch.Generator().manual_seed(0)
    drift = torch.linspace(0, 8, STEPS).view(-1, 1, 1, 1)
    return torch.randn(STEPS, 5, 4, 20, generator=rng) + drift


@pytest.fixture(scope="module")
def two_ranks(latents, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("ranks")
    mp.spawn(one_rank, args=(str(folder), latents), nprocs=2)
    return folder


def test_codebooks_are_identical_on_all_ranks(two_ranks):
    first, second = (torch.load(two_ranks / f"{rank}.pt") for rank in (0, 1))
    for name, tensor in first.items():
        assert torch.equal(tensor, second[name]), name


def test_codebooks_equal_those_of_one_process_with_the_joined_batch(two_ranks, latents):
    first = torch.load(two_ranks / "0.pt")
    for name, tensor in train(latents).items():
        torch.testing.assert_close(first[name], tensor, rtol=1e-4, atol=1e-5)


def test_codes_were_replaced_on_the_way(latents):
    """Else the two tests above would say nothing of it."""
    late = train(latents)["layers.0.codebook.embed"]
    assert late.mean() > 4


def test_every_rank_gets_the_same_from_each_call(two_ranks):
    for rank in (0, 1):
        calls = torch.load(two_ranks / f"calls{rank}.pt")
        assert calls["sum"].tolist() == [2, 2]
        assert calls["first"].tolist() == [0]
        assert calls["rows"].tolist() == [[0, 0], [1, 1], [1, 1]]


def test_one_process_needs_no_group():
    x = torch.ones(2, 2)
    assert n_ranks() == 1
    assert sum_over_ranks(x) is x and from_first_rank(x) is x and gather_rows(x) is x
