"""The generation loop: one batched transformer step per delayed step, everything else ready."""

from collections.abc import Generator, Sequence
from typing import TYPE_CHECKING, NamedTuple

import torch
from torch import Tensor

from musicgen_train.lm.delay import delay_codes
from musicgen_train.lm.fusing import TextCondition
from musicgen_train.lm.sampling import draw_uniforms, guide, sample
from musicgen_train.lm.transformer import KVCache

if TYPE_CHECKING:
    from musicgen_train.lm.model import Context, LanguageModel

UNKNOWN = -1  # a code still to be generated


class Sampling(NamedTuple):
    """How tokens are chosen from logits."""

    cfg_coef: float  # 1: conditional, 0: unconditional, above 1: guided
    greedy: bool
    top_k: int
    top_p: float
    temperature: float


class Progress(NamedTuple):
    """Where a generation stands."""

    done: int  # steps
    total: int  # steps
    sequence: Tensor  # [B, K, 1 + T + max(delays)]: one tensor that fills up; UNKNOWN is to come


def steps(
    model: "LanguageModel",
    n_frames: int,
    text: TextCondition | None,
    chroma: Tensor | None,
    prompt: Tensor | None,
    sampling: Sampling,
    seeds: Sequence[int] | None,
) -> Generator[Progress, None, None]:
    """Fill the delayed sequence, one step of all codebooks at a time."""
    batch_size = infer_batch_size(text, chroma, prompt, seeds)
    device = model.embedding.weight.device
    sequence = start_sequence(model, batch_size, n_frames, prompt).to(device)
    total = sequence.shape[-1]
    first = 1 + (0 if prompt is None else prompt.shape[-1])
    if seeds is None:
        seeds = torch.randint(2**63 - 1, (batch_size,)).tolist()
    uniforms = draw_uniforms(seeds, total, model.n_q).to(device)

    was_training = model.training
    model.eval()
    try:
        branches = guidance_branches(sampling.cfg_coef, text is None and chroma is None)
        context = model.context(batch_size, text, chroma, branches)
        cache = new_cache(model, context, batch_size * len(branches), total)
        known = sequence[..., :first]
        for step in range(first, total):
            logits = model.step_logits(known.repeat(len(branches), 1, 1), context, cache)[:, -1]
            tokens = choose(logits, uniforms[:, step], sampling, len(branches))
            # Prompt codes and the special tokens around each codebook are already in place.
            tokens = tokens.where(sequence[..., step] == UNKNOWN, sequence[..., step])
            sequence[..., step] = tokens
            known = tokens[..., None]
            yield Progress(step - first + 1, total - first, sequence)
    finally:
        model.train(was_training)


def choose(logits: Tensor, uniform: Tensor, sampling: Sampling, n_branches: int) -> Tensor:
    """Next tokens from the branches' logits: [n_branches * B, K, card] -> [B, K]."""
    if n_branches == 2:
        cond, uncond = logits.chunk(2)
        logits = guide(cond, uncond, sampling.cfg_coef)
    if sampling.greedy or sampling.temperature <= 0:
        return logits.argmax(dim=-1)
    return sample(
        logits,
        uniform,
        top_k=sampling.top_k,
        top_p=sampling.top_p,
        temperature=sampling.temperature,
    )


def guidance_branches(cfg_coef: float, unconditional: bool) -> tuple[bool, ...]:
    """Which branches guidance needs: True is the conditional one, False the null one."""
    if unconditional or cfg_coef == 1.0:
        return (True,)
    return (False,) if cfg_coef == 0.0 else (True, False)


def start_sequence(
    model: "LanguageModel", batch_size: int, n_frames: int, prompt: Tensor | None
) -> Tensor:
    """The delayed sequence before generation: special step, prompt, then `UNKNOWN`."""
    codes = torch.full((batch_size, model.n_q, n_frames), UNKNOWN)
    if prompt is not None:
        T0 = prompt.shape[-1]
        if prompt.shape[1] != model.n_q:
            raise ValueError(f"a prompt of {prompt.shape[1]} codebooks for a model of {model.n_q}")
        if n_frames <= T0:
            raise ValueError(f"the prompt has {T0} frames: ask for more than that, not {n_frames}")
        codes[..., :T0] = prompt
    elif n_frames < 1:
        raise ValueError(f"cannot generate {n_frames} frames: ask for at least 1")
    return model.with_start(delay_codes(codes, model.delays, model.special_token_id))


def new_cache(model: "LanguageModel", context: "Context", rows: int, n_steps: int) -> KVCache:
    """A cache for the prefix and all steps."""
    prefix = 0 if context.prefix is None else context.prefix.shape[1]
    heads = model.config["num_heads"]
    shape = (rows, heads, prefix + n_steps, model.dim // heads)
    return KVCache(len(model.layers), shape, like=model.embedding.weight)


def infer_batch_size(
    text: TextCondition | None,
    chroma: Tensor | None,
    prompt: Tensor | None,
    seeds: Sequence[int] | None,
) -> int:
    """The one batch size that everything given agrees on; 1 if nothing is given."""
    sizes = {
        "text": None if text is None else text[0].shape[0],
        "chroma": None if chroma is None else chroma.shape[0],
        "prompt": None if prompt is None else prompt.shape[0],
        "seeds": None if seeds is None else len(seeds),
    }
    given = {name: size for name, size in sizes.items() if size is not None}
    if len(set(given.values())) > 1:
        listed = ", ".join(f"{name} {size}" for name, size in given.items())
        raise ValueError(f"batch sizes differ: {listed}")
    return next(iter(given.values()), 1)
