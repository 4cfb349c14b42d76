"""From logits to tokens: guidance, top-k, top-p, and noise that belongs to one sample."""

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor

COLDEST = 1e-5  # a lower temperature would only divide by nothing: it is greedy


class Sampling(NamedTuple):
    """How tokens are chosen from logits."""

    cfg_coef: float = 3.0  # 1: conditional, 0: unconditional, above 1: guided
    greedy: bool = False
    top_k: int = 250
    top_p: float = 0.0
    temperature: float = 1.0


def guide(cond: Tensor, uncond: Tensor, cfg_coef: float) -> Tensor:
    """Classifier-free guidance on logits; 1.0 is plain conditional sampling."""
    return uncond + cfg_coef * (cond - uncond)


def draw_uniforms(seeds: Sequence[int], n_steps: int, n_q: int) -> Tensor:
    """All the randomness of a generation: [B, n_steps, n_q] in [0, 1).

    Row b follows from seeds[b] alone, so a sample does not depend on the batch around it, and is
    drawn on the CPU, so that it does not depend on the device either.
    """
    rows = []
    for seed in seeds:
        generator = torch.Generator("cpu").manual_seed(fold(seed))
        rows.append(
            torch.rand(n_steps, n_q, generator=generator, device="cpu", dtype=torch.float32)
        )
    return torch.stack(rows)


def fold(seed: int) -> int:
    """A seed of any size in 32 bits, as torch's generator takes no more; small ones stay."""
    low, high = seed & 0xFFFFFFFF, (seed >> 32) & 0xFFFFFFFF
    return low ^ ((high * 0x9E3779B1) & 0xFFFFFFFF)


def sample(
    logits: Tensor,
    uniform: Tensor,
    *,
    top_k: int = 250,
    top_p: float = 0.0,
    temperature: float = 1.0,
) -> Tensor:
    """Draw one token per row by inverting the distribution's CDF: [..., card], [...] -> [...].

    `top_p` > 0 wins over `top_k`; with neither, every token may be drawn.
    """
    probs = torch.softmax(logits.float() / temperature, dim=-1)
    k = top_k if top_k > 0 and top_p <= 0 else probs.shape[-1]
    # Sorted by probability: the tokens kept are the first ones, and ties break the same way.
    probs, tokens = probs.topk(min(k, probs.shape[-1]), dim=-1)
    cdf = probs.cumsum(dim=-1)
    if top_p > 0:
        # Keep a token as long as those before it have not reached top_p; the first always stays.
        probs = probs.where(cdf - probs <= top_p, 0.0)
        cdf = probs.cumsum(dim=-1)
    threshold = uniform[..., None] * cdf[..., -1:]
    rank = (cdf <= threshold).sum(dim=-1, keepdim=True)
    # Rounding may put the threshold on the very end of the CDF: stay on a possible token.
    rank = rank.minimum((probs > 0).sum(dim=-1, keepdim=True) - 1).clamp(min=0)
    return tokens.gather(-1, rank).squeeze(-1)


def choose(logits: Tensor, uniform: Tensor, sampling: Sampling, n_branches: int) -> Tensor:
    """Next tokens from the branches' logits: [n_branches * B, K, card] -> [B, K]."""
    if n_branches == 2:
        cond, uncond = logits.float().chunk(2)
        logits = guide(cond, uncond, sampling.cfg_coef)
    if sampling.greedy or sampling.temperature < COLDEST:
        return logits.argmax(dim=-1)
    return sample(
        logits,
        uniform,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        temperature=sampling.temperature,
    )
