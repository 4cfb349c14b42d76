"""Two processes train a small language model in shards, for test_optimizers.py."""

import os
from pathlib import Path

import torch
import torch.distributed as dist
import torch.nn.functional as F
from torch.distributed.checkpoint import state_dict as sharded_state
from torch.distributed.fsdp import fully_shard, register_fsdp_forward_method

from musicgen_train.lm.model import LanguageModel
from musicgen_train.training.optimizers import muon


def make(name, named, lr=1e-3):
    """The optimizer of that name."""
    return muon(named, lr=lr) if name == "muon" else torch.optim.AdamW(named, lr=lr, fused=True)


def small_model(dtype=torch.float32):
    torch.manual_seed(0)
    size = {"n_q": 4, "card": 32, "dim": 64, "num_heads": 4, "num_layers": 2}
    return LanguageModel(**size, text_dim=16).to(dtype)


def step(model, optimizer, index, rows=slice(None)):
    """One step on some rows of batch `index`; -> its loss."""
    rng = torch.Generator().manual_seed(index)
    codes = torch.randint(32, (4, 4, 12), generator=rng)[rows]
    text = torch.randn(4, 5, 16, generator=rng)[rows].to(next(model.parameters()).dtype)
    logits, mask = model.logits(codes, (text, torch.ones(text.shape[:2], dtype=torch.long)))
    ce = F.cross_entropy(logits.flatten(0, 2), codes.flatten(), reduction="none").view_as(mask)
    loss = (ce * mask).sum() / mask.sum()
    loss.backward()
    optimizer.step()
    optimizer.zero_grad()
    return loss.item()


def sharded(name, dtype):
    model = small_model(dtype)
    for layer in model.layers:
        fully_shard(layer)
    fully_shard(model)
    register_fsdp_forward_method(model, "logits")
    return model, make(name, list(model.named_parameters()))


def whole(model):
    return {name: p.full_tensor().detach() for name, p in model.named_parameters()}


def worker(rank: int, folder: Path) -> None:
    """Write, for each optimizer and type, the weights after 10 steps, and after 13 two ways."""
    init = f"file://{folder}/rendezvous"
    os.environ["GLOO_SOCKET_IFNAME"] = "lo"
    dist.init_process_group("gloo", init_method=init, rank=rank, world_size=2)
    rows = slice(2 * rank, 2 * rank + 2)
    for name in ("adamw", "muon"):
        for dtype in (torch.float32, torch.float64):
            model, optimizer = sharded(name, dtype)
            for index in range(10):
                step(model, optimizer, index, rows)
            after = whole(model)
            state = sharded_state.get_optimizer_state_dict(model, optimizer)
            other, resumed = sharded(name, dtype)
            sharded_state.set_model_state_dict(other, sharded_state.get_model_state_dict(model))
            sharded_state.set_optimizer_state_dict(other, resumed, state)
            for index in range(10, 13):
                step(other, resumed, index, rows)
            resumed_weights = whole(other)
            options = sharded_state.StateDictOptions(full_state_dict=True, cpu_offload=True)
            full = sharded_state.get_optimizer_state_dict(other, resumed, options=options)
            model, optimizer = sharded(name, dtype)
            for index in range(13):
                step(model, optimizer, index, rows)
            straight = whole(model)
            if rank == 0:
                held = {"after": after, "resumed": resumed_weights, "straight": straight}
                torch.save({**held, "optimizer": full}, folder / f"{name} {dtype}.pt")
    dist.destroy_process_group()
